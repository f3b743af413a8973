package gateway

import (
	"errors"
	"net"
	"net/http"
	"net/url"

	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"example.com/grafana-tempo-go-demo/demo/header"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// errSwitching is a 101 answer. No service here has another protocol to offer, and the connection behind
// such an answer knows no timeout.
var errSwitching = errors.New("the service wants to switch protocols")

// lastHop is below otelhttp's transport: it sees the request as it leaves.
type lastHop struct{ *Gateway }

// RoundTrip may change the request's headers: ReverseProxy made them for this one use.
func (g lastHop) RoundTrip(r *http.Request) (*http.Response, error) {
	if g.o.Tamper != nil {
		g.o.Tamper(r.Header)
	}
	pass, span := passageOf(r.Context()), trace.SpanFromContext(r.Context())
	pass.record.Left = header.Pick(r.Header)
	safe := *r.URL
	safe.RawQuery = redacted(r.URL)
	span.SetAttributes(semconv.URLFull(safe.String()))

	res, err := g.transport.RoundTrip(r)
	if err == nil && res.StatusCode == http.StatusSwitchingProtocols {
		_ = res.Body.Close()
		err = errSwitching
	}
	if err != nil { // otelhttp leaves the status out, and Traefik does not
		span.SetAttributes(semconv.HTTPResponseStatusCode(pass.statusOf(err)))
		return nil, err
	}
	pass.record.TraceResponse = res.Header.Get("traceresponse")
	return res, nil
}

// describe replaces what otelhttp believes of a client, and hides values that may be secrets.
func describe(span trace.Span, r *http.Request) {
	client, _, _ := net.SplitHostPort(r.RemoteAddr)
	span.SetAttributes(
		semconv.ServerAddress(topology.HostName(r.Host)),
		semconv.ClientAddress(client),
		semconv.URLQuery(redacted(r.URL)),
	)
}

// redacted is a URL's query without its values, which may be secrets; a service may tell more.
func redacted(u *url.URL) string {
	query := u.Query()
	for name := range query {
		query.Set(name, "REDACTED")
	}
	return query.Encode()
}
