package gateway

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"

	"example.com/grafana-tempo-go-demo/demo/topology"
)

// unknownHost answers 404 and lists what there is instead.
func (g *Gateway) unknownHost(w http.ResponseWriter, r *http.Request) {
	text := fmt.Sprintf("404 no such host\nThe gateway routes by host name and knows no host named %.253q. It knows these:\n",
		topology.HostName(r.Host))
	for _, host := range slices.Sorted(maps.Keys(g.proxies)) {
		text += "  http://" + net.JoinHostPort(host, requestPort(r)) + "/\n"
	}
	http.Error(w, text, http.StatusNotFound)
}

// failed answers for an upstream that did not. The log, not the page, says what went wrong.
func failed(w http.ResponseWriter, r *http.Request, err error) {
	pass := passageOf(r.Context())
	pass.err = err
	switch status := pass.statusOf(err); status {
	case statusClientClosedRequest:
		w.WriteHeader(status) // nobody reads it
	case http.StatusRequestTimeout:
		http.Error(w, "408 the body of this request did not arrive", status)
	case http.StatusGatewayTimeout:
		http.Error(w, "504 too slow\nThe service did not answer in time. "+
			"The service's log says what it was doing.\nThis page comes from the gateway.", status)
	default:
		http.Error(w, "502 the service cannot be reached\nIt is not there, or it broke off. Check whether it is still "+
			"running; the gateway's log has the error.\nThis page comes from the gateway.", status)
	}
}

// requestPort is the port in the Host header, or 80. Nothing but a number counts, or a link made of
// it could lead to another host: net/http lets `name:@elsewhere.example` through.
func requestPort(r *http.Request) string {
	if _, port, err := net.SplitHostPort(r.Host); err == nil {
		if n, err := strconv.ParseUint(port, 10, 16); err == nil && n > 0 {
			return strconv.FormatUint(n, 10)
		}
	}
	return "80"
}
