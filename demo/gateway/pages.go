package gateway

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"strconv"
	"strings"

	"example.com/grafana-tempo-go-demo/demo/topology"
)

// page is one of the gateway's own answers, for a browser or for curl.
type page struct {
	Status int
	Title  string
	Text   string
	Links  []string
}

//go:embed page.html
var pageHTML string

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

// unknownHost answers 404 and lists what there is instead.
func (g *Gateway) unknownHost(w http.ResponseWriter, r *http.Request) {
	p := page{
		Status: http.StatusNotFound,
		Title:  "no such host",
		Text:   fmt.Sprintf("The gateway routes by host name and knows no host named %q. It knows these:", shownHost(r)),
	}
	port := ""
	if n := requestPort(r); n != "80" {
		port = ":" + n
	}
	for _, host := range g.hosts {
		p.Links = append(p.Links, "http://"+host+port+"/")
	}
	p.write(w, r)
}

// shownHost is the request's host name for a page, cut to the longest that a name can be.
func shownHost(r *http.Request) string {
	const longest = 253 // RFC 1035
	host := topology.HostName(r.Host)
	if len(host) <= longest {
		return host
	}
	return valid(host[:longest]) + "..."
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

// upstreamFailed answers for a service that did not. What exactly went wrong is in the log and not
// on the page.
func upstreamFailed(w http.ResponseWriter, r *http.Request, status int) {
	p := page{Status: status}
	switch status {
	case http.StatusGatewayTimeout:
		p.Title = "the service is too slow"
		p.Text = fmt.Sprintf("The service behind %s took the request and did not answer in time. "+
			"Its own log says what it was doing.", shownHost(r))
	case http.StatusRequestTimeout:
		p.Title = "the request did not arrive"
		p.Text = "The request announced a body that did not come, or not in time."
	case statusClientClosedRequest:
		w.WriteHeader(status) // nobody reads it
		return
	default:
		p.Title = "the service cannot be reached"
		p.Text = fmt.Sprintf("The service behind %s is not there or broke off. "+
			"See whether it still runs; the gateway's log has the error.", shownHost(r))
	}
	p.write(w, r)
}

// write sends a page as HTML to whoever accepts that, and as plain text to everybody else.
func (p page) write(w http.ResponseWriter, r *http.Request) {
	var body bytes.Buffer
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy",
		"default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Vary", "Accept")
	h.Set("X-Content-Type-Options", "nosniff")
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		h.Set("Content-Type", "text/html; charset=utf-8")
		if err := pageTemplate.Execute(&body, p); err != nil {
			http.Error(w, p.Title, p.Status)
			return
		}
	} else {
		h.Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintf(&body, "%d %s\n%s\n", p.Status, p.Title, p.Text)
		for _, link := range p.Links {
			fmt.Fprintf(&body, "  %s\n", link)
		}
	}
	w.WriteHeader(p.Status)
	// A client that is gone by now has its own trouble.
	_, _ = body.WriteTo(w)
}
