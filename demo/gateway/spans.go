package gateway

import (
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

	"example.com/grafana-tempo-go-demo/demo/header"
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
	pass.left = header.Pick(r.Header)

	res, err := t.next.RoundTrip(r)
	status := 0
	if err != nil {
		status = statusOf(err, pass)
	} else {
		status = res.StatusCode
		pass.traceResponse = res.Header.Get("traceresponse")
	}
	if status == http.StatusSwitchingProtocols { // it goes out past WriteHeader
		pass.status = status
	}
	setStatus(span, status, http.StatusBadRequest)
	return res, err
}

// setStatus sets a span's status by that of the answer. A client's mistake, such as a 404, is no error
// of the server, and one of the client.
func setStatus(span trace.Span, status, errorsFrom int) {
	if status >= errorsFrom {
		span.SetStatus(codes.Error, "")
	}
	span.SetAttributes(semconv.HTTPResponseStatusCode(status))
}

// serverRequest describes an incoming request in Traefik's words.
func serverRequest(r *http.Request) []attribute.KeyValue {
	client, _, _ := net.SplitHostPort(r.RemoteAddr)
	return []attribute.KeyValue{
		attribute.String("entry_point", "web"), // Traefik's name of its default one
		semconv.HTTPRequestMethodKey.String(r.Method),
		semconv.NetworkProtocolVersion(strings.TrimPrefix(r.Proto, "HTTP/")),
		semconv.URLPath(valid(r.URL.Path)),
		semconv.URLQuery(redacted(r.URL).RawQuery),
		semconv.URLScheme("http"),
		semconv.UserAgentOriginal(valid(r.UserAgent())),
		semconv.ServerAddress(valid(r.Host)),
		semconv.ClientAddress(client),
	}
}

// clientRequest describes the request to the upstream in Traefik's words.
func clientRequest(r *http.Request) []attribute.KeyValue {
	u := redacted(r.URL)
	port, _ := strconv.Atoi(u.Port()) // every upstream has one
	return []attribute.KeyValue{
		semconv.HTTPRequestMethodKey.String(r.Method),
		semconv.NetworkProtocolVersion("1.1"),
		semconv.URLFull(valid(u.String())),
		semconv.URLScheme(u.Scheme),
		semconv.UserAgentOriginal(valid(r.UserAgent())),
		semconv.ServerAddress(u.Hostname()),
		semconv.ServerPort(port),
	}
}

// redacted is a URL without its query's values, which may be secrets; a service may tell more.
func redacted(u *url.URL) *url.URL {
	safe := *u
	query := safe.Query()
	for name := range query {
		query.Set(name, "REDACTED")
	}
	safe.RawQuery = query.Encode()
	return &safe
}

// valid mends text for protobuf: one string that is not UTF-8 makes the exporter drop the whole batch.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
