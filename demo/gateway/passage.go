package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"

	"example.com/grafana-tempo-go-demo/demo/ledger"
)

// statusClientClosedRequest is what the log and the span say when the client hung up before the
// answer. Nobody receives it. The number is nginx's and Traefik's.
const statusClientClosedRequest = 499

// passage is a request on its way through the gateway: what becomes known of it, for the log and the
// record, and the writer of its answer. One goroutine serves a request from end to end.
type passage struct {
	http.ResponseWriter

	upstream *url.URL
	record   ledger.Record
	err      error       // of the upstream
	body     *clientBody // of the request; nil if it has none
}

type passageKey struct{}

// WriteHeader keeps the final status; informational ones such as 103 may come before it.
func (p *passage) WriteHeader(status int) {
	if status >= 200 {
		p.record.Status = status
	}
	p.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController find what else the writer can do.
func (p *passage) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// clientBody remembers whether a request's body came to its end, to tell a client that does not send it
// from a service that is slow. The transport reads it in a goroutine of its own.
type clientBody struct {
	io.ReadCloser
	whole atomic.Bool
}

func (b *clientBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		b.whole.Store(true)
	}
	return n, err
}

// passageOf is the passage of a request that ServeHTTP has sent on.
func passageOf(ctx context.Context) *passage { return ctx.Value(passageKey{}).(*passage) }

// rewrite points a request at its upstream and leaves the rest as the client sent it, the Host
// header included, as Traefik does unless told otherwise.
func rewrite(pr *httputil.ProxyRequest) {
	upstream := passageOf(pr.In.Context()).upstream
	pr.Out.URL.Scheme, pr.Out.URL.Host, pr.Out.Host = upstream.Scheme, upstream.Host, pr.In.Host
	// ReverseProxy has dropped what it cannot parse from the query. The service is to judge
	// that; a semicolon becomes the ampersand that it once stood for, again as in Traefik.
	pr.Out.URL.RawQuery = strings.ReplaceAll(pr.In.URL.RawQuery, ";", "&")
	// What a client claims about proxies before this one is not believed.
	pr.SetXForwarded()
	pr.Out.Header.Set("X-Forwarded-Server", "gateway")
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

// statusOf turns a transport's error into a status. It tells apart a client that did not send its
// body or hung up, an upstream that was too slow, and one that is not there.
func (p *passage) statusOf(err error) int {
	var netErr net.Error
	canceled := errors.Is(err, context.Canceled)
	late := errors.As(err, &netErr) && netErr.Timeout()
	switch {
	case (canceled || late) && p.body != nil && !p.body.whole.Load():
		return http.StatusRequestTimeout
	case canceled:
		return statusClientClosedRequest
	case late:
		return http.StatusGatewayTimeout
	}
	return http.StatusBadGateway
}
