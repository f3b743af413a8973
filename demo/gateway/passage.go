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

	"example.com/grafana-tempo-go-demo/demo/header"
)

// statusClientClosedRequest is what the log and the span say when the client hung up before the
// answer. Nobody receives it. The number is nginx's and Traefik's.
const statusClientClosedRequest = 499

// passage is a request on its way through the gateway: what becomes known of it, for the log and the
// record, and the writer of its answer. One goroutine serves a request from end to end.
type passage struct {
	http.ResponseWriter

	status        int            // that went out
	err           error          // of the upstream
	body          *clientBody    // of the request; nil if it has none
	left          header.Headers // the propagation headers that were sent on; nil if it was not
	traceResponse string         // the upstream's
}

type passageKey struct{}

// WriteHeader keeps the final status; informational ones such as 103 may come before it.
func (p *passage) WriteHeader(status int) {
	if status >= 200 {
		p.status = status
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

// rewriteTo points a request at its upstream and leaves the rest as the client sent it, the Host
// header included, as Traefik does unless told otherwise.
func rewriteTo(upstream *url.URL) func(*httputil.ProxyRequest) {
	return func(pr *httputil.ProxyRequest) {
		pr.Out.URL.Scheme = upstream.Scheme
		pr.Out.URL.Host = upstream.Host
		pr.Out.Host = pr.In.Host
		// ReverseProxy has dropped what it cannot parse from the query. The service is to judge
		// that; a semicolon becomes the ampersand that it once stood for, again as in Traefik.
		pr.Out.URL.RawQuery = strings.ReplaceAll(pr.In.URL.RawQuery, ";", "&")

		// What a client claims about proxies before this one is not believed: ReverseProxy has
		// removed its X-Forwarded-For, -Host and -Proto, and the others are overwritten.
		pr.SetXForwarded()
		ip, _, _ := net.SplitHostPort(pr.In.RemoteAddr)
		pr.Out.Header.Set("X-Real-Ip", ip)
		pr.Out.Header.Set("X-Forwarded-Server", "gateway")
		pr.Out.Header.Set("X-Forwarded-Port", requestPort(pr.In))
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
