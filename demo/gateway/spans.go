package gateway

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"example.com/grafana-tempo-go-demo/demo/ledger"
)

// tracingTransport makes the client span "ReverseProxy" and sends its context along. As Traefik's,
// the span ends when the answer's headers are there, not when its body is.
type tracingTransport struct {
	tracer     trace.Tracer
	propagator propagation.TextMapPropagator
	tamper     func(http.Header) // nil for none
	next       http.RoundTripper
}

// RoundTrip may change the request's headers: ReverseProxy made them for this one use.
func (t *tracingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, span := t.tracer.Start(r.Context(), "ReverseProxy", trace.WithSpanKind(trace.SpanKindClient))
	defer span.End()
	r = r.WithContext(ctx)
	span.SetAttributes(clientRequest(r)...)
	t.propagator.Inject(ctx, propagation.HeaderCarrier(r.Header))
	if t.tamper != nil {
		t.tamper(r.Header)
	}
	pass := passageOf(ctx)
	pass.left = ledger.Pick(r.Header)

	res, err := t.next.RoundTrip(r)
	status := 0
	if err != nil {
		status = statusOf(err, pass)
	} else {
		status = res.StatusCode
		pass.traceResponse = res.Header.Get("traceresponse")
	}
	span.SetStatus(clientStatus(status))
	span.SetAttributes(statusCode(status))
	return res, err
}

// serverRequest describes an incoming request in Traefik's words.
func serverRequest(r *http.Request) []attribute.KeyValue {
	attrs := []attribute.KeyValue{
		attribute.String("entry_point", "web"), // Traefik's name of its default one
		semconv.HTTPRequestMethodKey.String(r.Method),
		semconv.NetworkProtocolVersion(strings.TrimPrefix(r.Proto, "HTTP/")),
		semconv.URLPath(valid(r.URL.Path)),
		semconv.URLQuery(redacted(r.URL).RawQuery),
		semconv.URLScheme("http"),
		semconv.UserAgentOriginal(valid(r.UserAgent())),
		semconv.ServerAddress(valid(r.Host)),
	}
	if r.ContentLength >= 0 {
		attrs = append(attrs, semconv.HTTPRequestBodySize(int(r.ContentLength)))
	}
	if host, port, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		attrs = append(attrs, semconv.NetworkPeerAddress(host), semconv.ClientAddress(host))
		if n, err := strconv.Atoi(port); err == nil {
			attrs = append(attrs, semconv.ClientPort(n), semconv.NetworkPeerPort(n))
		}
	}
	return attrs
}

// clientRequest describes the request to the upstream in Traefik's words.
func clientRequest(r *http.Request) []attribute.KeyValue {
	u := redacted(r.URL)
	port := 80
	if p, err := strconv.Atoi(u.Port()); err == nil {
		port = p
	}
	return []attribute.KeyValue{
		semconv.HTTPRequestMethodKey.String(r.Method),
		semconv.NetworkProtocolVersion("1.1"),
		semconv.URLFull(valid(u.String())),
		semconv.URLScheme(u.Scheme),
		semconv.UserAgentOriginal(valid(r.UserAgent())),
		semconv.NetworkPeerAddress(u.Hostname()),
		semconv.NetworkPeerPort(port),
		semconv.ServerAddress(u.Hostname()),
		semconv.ServerPort(port),
	}
}

func statusCode(status int) attribute.KeyValue { return semconv.HTTPResponseStatusCode(status) }

// redacted returns the URL without the values of its query, which may be anybody's secrets. The
// service behind may decide to tell more.
func redacted(u *url.URL) *url.URL {
	safe := *u
	query := safe.Query()
	for name := range query {
		query.Set(name, "REDACTED")
	}
	safe.RawQuery = query.Encode()
	return &safe
}

// serverStatus leaves everything below 500 unset: a client's mistake is no error of the server.
func serverStatus(status int) (codes.Code, string) {
	switch {
	case status < 100 || status >= 600:
		return codes.Error, fmt.Sprintf("Invalid HTTP status code %d", status)
	case status >= 500:
		return codes.Error, ""
	default:
		return codes.Unset, ""
	}
}

// clientStatus is stricter: to the one who asked, a 404 is an error.
func clientStatus(status int) (codes.Code, string) {
	if status >= 400 && status < 500 {
		return codes.Error, ""
	}
	return serverStatus(status)
}

// valid mends text for protobuf, which refuses strings that are not UTF-8.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
