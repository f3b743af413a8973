// Package gateway is the entry of the run without Docker: a reverse proxy that routes by host name
// and starts the trace, standing where Traefik stands in the compose stack.
//
// Its spans have the names and kinds of Traefik's (v3.7): a server span named by the method and under it
// a client span "ReverseProxy".
package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"example.com/grafana-tempo-go-demo/demo/header"
	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// responseTimeout is longer than the services' own: their client's 10 s, their answer's 15 s.
const responseTimeout = 20 * time.Second

// Options say what to route where and whom to tell. All but Tamper are required.
type Options struct {
	// Routes maps a host name, as topology.HostName writes it, to its upstream, of which only scheme
	// and host are used, as in Traefik.
	Routes         map[string]*url.URL
	TracerProvider trace.TracerProvider
	Propagator     propagation.TextMapPropagator
	Logger         *slog.Logger // gets one line per request
	// Record is called once for each request, when it has been answered. The record's Service is
	// empty if there was no route. Requests call it concurrently, and each waits for it.
	Record func(ledger.Record)
	// Tamper breaks telemetry on purpose: it changes a request's headers after the propagator has
	// written them. Requests call it concurrently; nil leaves the headers alone.
	Tamper func(http.Header)
}

// Gateway is the proxy as an http.Handler, made by New.
type Gateway struct {
	o         Options
	traced    http.Handler // serve in a server span
	proxy     *httputil.ReverseProxy
	transport *http.Transport
}

// New returns a Gateway. It starts nothing and can be used at once.
func New(o Options) *Gateway {
	g := &Gateway{
		o: o,
		transport: &http.Transport{
			// No Proxy: everything behind the gateway is on this machine, whatever HTTP_PROXY says.
			DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			// The default of two idle connections per host closes and dials again all the time
			// under concurrency. The services keep as many for theirs.
			MaxIdleConnsPerHost: 8192,
			// Shorter than any upstream's, which would close connections under requests.
			IdleConnTimeout:       30 * time.Second,
			ResponseHeaderTimeout: responseTimeout,
			ExpectContinueTimeout: time.Second,
			// A proxy passes encodings on and adds none.
			DisableCompression: true,
		},
	}
	named := func(name func(*http.Request) string) []otelhttp.Option {
		return []otelhttp.Option{
			otelhttp.WithTracerProvider(o.TracerProvider),
			otelhttp.WithPropagators(o.Propagator),
			otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return name(r) }),
		}
	}
	g.traced = otelhttp.NewHandler(http.HandlerFunc(g.serve), "", named(func(r *http.Request) string { return r.Method })...)
	g.proxy = &httputil.ReverseProxy{
		Rewrite:      rewrite,
		Transport:    otelhttp.NewTransport(lastHop{g}, named(func(*http.Request) string { return "ReverseProxy" })...),
		ErrorLog:     slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
		ErrorHandler: failed,
	}
	return g
}

// CloseIdleConnections closes the connections to upstreams that carry no request. A server that is
// told to stop waits some seconds for a connection that was opened and never used.
func (g *Gateway) CloseIdleConnections() { g.transport.CloseIdleConnections() }

// ServeHTTP traces the request, passes it to the upstream of its host, and logs it.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) { g.traced.ServeHTTP(w, r) }

func (g *Gateway) serve(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	span := trace.SpanFromContext(ctx)
	describe(span, r)
	host := topology.HostName(r.Host)
	pass := &passage{ResponseWriter: w, upstream: g.o.Routes[host], record: ledger.Record{
		Time: time.Now(), Name: topology.Gateway,
		TraceID: span.SpanContext().TraceID().String(), SpanID: span.SpanContext().SpanID().String(),
		Method: r.Method, Host: r.Host, Path: r.URL.Path, Query: r.URL.RawQuery, Agent: r.UserAgent(),
		Arrived: header.Pick(r.Header), Status: http.StatusOK,
	}}
	// Deferred, because the reverse proxy ends a broken answer with panic(http.ErrAbortHandler),
	// which net/http understands and which must neither lose the span nor be swallowed here.
	defer func() {
		pass.record.Duration = time.Since(pass.record.Time)
		span.SetAttributes(semconv.HTTPResponseStatusCode(pass.record.Status))
		g.log(ctx, pass.record, pass.err)
		g.o.Record(pass.record)
	}()

	if pass.upstream == nil {
		http.Error(pass, fmt.Sprintf("404 no such host\nThe gateway routes by host name and knows no host named %.253q. "+
			"It knows %s.", host, strings.Join(slices.Sorted(maps.Keys(g.o.Routes)), ", ")), http.StatusNotFound)
		return
	}
	pass.record.Service = topology.ServiceOf(host)
	r = r.WithContext(context.WithValue(ctx, passageKey{}, pass))
	if r.ContentLength != 0 {
		pass.body = &clientBody{ReadCloser: r.Body}
		r.Body = pass.body
	}
	g.proxy.ServeHTTP(pass, r)
}

// log writes a request's line, whose headers, as in the services' own, are all `demo ledger` needs.
func (g *Gateway) log(ctx context.Context, r ledger.Record, err error) {
	level := slog.LevelInfo
	args := []any{
		"method", r.Method, "host", r.Host, "path", r.Path, "query", r.Query,
		"status", r.Status, "duration_ms", float64(r.Duration.Microseconds()) / 1000,
		"trace_id", r.TraceID, "span_id", r.SpanID, "arrived", r.Arrived,
	}
	if r.Left != nil {
		args = append(args, "left", r.Left)
	}
	if r.TraceResponse != "" {
		args = append(args, "traceresponse", r.TraceResponse)
	}
	switch {
	case r.Status == statusClientClosedRequest, r.Status == http.StatusRequestTimeout:
		args = append(args, "error", "the client hung up, or did not send all of its request")
	case err != nil:
		level = slog.LevelError
		args = append(args, "error", err.Error())
	}
	g.o.Logger.Log(ctx, level, "request", args...)
}
