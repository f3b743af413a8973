// Package gateway is the entry of the run without Docker: a reverse proxy that routes by host name and starts the
// trace, standing where Traefik stands in the compose stack.
//
// Its spans are Traefik's (v3.7, pkg/middlewares/observability, pkg/proxy/httputil/observability.go and
// pkg/observability/tracing): a server span named by the method and under it a client span "ReverseProxy", the same
// attributes, the same rule for the status, query values redacted, no events. That is why they are written by hand here
// and do not come from otelhttp, which ends a client span later (with the body) and judges some answers differently. The
// one difference: text that is not valid UTF-8 is mended first, because a single bad string makes the exporter drop
// the whole batch it is in.
package gateway

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// DefaultResponseTimeout is how long the gateway waits for the first byte of an answer. The services give up before
// that: their outgoing client after 10 s, their answer after 15 s.
const DefaultResponseTimeout = 20 * time.Second

// StatusClientClosedRequest is what the log and the span say when the client hung up before the answer. Nobody receives
// it. The number is nginx's and Traefik's.
const StatusClientClosedRequest = 499

// EntryPoint is the value of the server span's attribute entry_point, the name that Traefik gives its default one.
const EntryPoint = "web"

// scope is the name of the tracer.
const scope = "example.com/grafana-tempo-go-demo/demo/gateway"

// Options say what to route where and whom to tell.
type Options struct {
	// Routes maps a host name without port to its upstream. Letters' case and a trailing dot do not matter. Of the
	// upstream only scheme and host are used, as in Traefik.
	Routes map[string]*url.URL
	// TracerProvider makes the spans; nil makes none, and the request's own trace headers pass through untouched.
	TracerProvider trace.TracerProvider
	// Propagator reads the incoming trace header and writes the outgoing one; nil does neither.
	Propagator propagation.TextMapPropagator
	// Logger gets one line per request; nil discards.
	Logger *slog.Logger
	// Record is called once for each request, when it has been answered. Service is empty if there was no route. Requests
	// call it concurrently, and each waits for it. nil records nothing.
	Record func(ledger.ProxyRecord)
	// Tamper changes the headers of a request on its way to a service, after the propagator has written them. It is how the
	// demo breaks telemetry on purpose; nil leaves them alone. Requests call it concurrently.
	Tamper func(http.Header)
	// ResponseTimeout bounds the wait for the first byte of an upstream's answer; 0 means DefaultResponseTimeout.
	ResponseTimeout time.Duration
}

// Gateway is the proxy as an http.Handler, made by New.
type Gateway struct {
	proxies    map[string]http.Handler
	hosts      []string // sorted, for the page that lists them
	tracer     trace.Tracer
	propagator propagation.TextMapPropagator
	logger     *slog.Logger
	record     func(ledger.ProxyRecord)
	transport  *http.Transport
	draining   atomic.Bool
}

// New returns a Gateway. It starts nothing and can be used at once.
func New(o Options) *Gateway {
	if o.TracerProvider == nil {
		o.TracerProvider = noop.NewTracerProvider()
	}
	if o.Propagator == nil {
		o.Propagator = propagation.NewCompositeTextMapPropagator()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.ResponseTimeout == 0 {
		o.ResponseTimeout = DefaultResponseTimeout
	}
	g := &Gateway{
		proxies:    map[string]http.Handler{},
		tracer:     o.TracerProvider.Tracer(scope),
		propagator: o.Propagator,
		logger:     o.Logger,
		record:     o.Record,
		transport: &http.Transport{
			// No Proxy: everything behind the gateway is on this machine, whatever HTTP_PROXY says.
			DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			// The default of two idle connections per host closes and dials again all the time under concurrency. It is as many
			// as the services keep for theirs: whoever lets thousands of visitors in at once has the files for it.
			MaxIdleConnsPerHost: 8192,
			// Shorter than any upstream's own idle timeout, so that it never closes a connection under a request.
			IdleConnTimeout:       30 * time.Second,
			ResponseHeaderTimeout: o.ResponseTimeout,
			ExpectContinueTimeout: time.Second,
			// A proxy passes encodings on and adds none.
			DisableCompression: true,
		},
	}
	errorLog := slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug)
	for host, upstream := range o.Routes {
		name := topology.HostName(host)
		g.hosts = append(g.hosts, name)
		g.proxies[name] = &httputil.ReverseProxy{
			Rewrite:      rewriteTo(upstream),
			Transport:    &tracingTransport{tracer: g.tracer, propagator: o.Propagator, tamper: o.Tamper, next: g.transport},
			ErrorLog:     errorLog,
			ErrorHandler: g.failed,
			BufferPool:   &buffers,
		}
	}
	slices.Sort(g.hosts)
	return g
}

// buffers are what answers are copied through. A fresh one each time was a third of all that the demo allocates.
var buffers = bufferPool{sync.Pool{New: func() any { return new(buffer) }}}

type buffer [32 << 10]byte // as large as ReverseProxy's own

// bufferPool is an [httputil.BufferPool].
type bufferPool struct{ pool sync.Pool }

func (p *bufferPool) Get() []byte { return p.pool.Get().(*buffer)[:] }

func (p *bufferPool) Put(b []byte) { p.pool.Put((*buffer)(b)) }

// CloseIdleConnections closes the connections to upstreams that carry no request. A server that is told to stop waits
// some seconds for a connection that was opened and never used.
func (g *Gateway) CloseIdleConnections() { g.transport.CloseIdleConnections() }

// Drain makes each further answer say that its connection ends with it, so that clients send nothing more on it.
func (g *Gateway) Drain() { g.draining.Store(true) }

// ServeHTTP traces the request, passes it to the upstream of its host, and logs it.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	arrived := ledger.Pick(r.Header)
	parent := g.propagator.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	ctx, span := g.tracer.Start(parent, r.Method, trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(start))
	span.SetAttributes(serverRequest(r)...)

	rec := &recorder{ResponseWriter: w, draining: &g.draining, status: http.StatusOK}
	var pass passage
	host := topology.HostName(r.Host)
	next, ok := g.proxies[host]
	// Deferred, because the reverse proxy ends a broken answer with panic(http.ErrAbortHandler), which net/http
	// understands and which must neither lose the span nor be swallowed here.
	defer func() {
		span.SetStatus(serverStatus(rec.status))
		span.SetAttributes(statusCode(rec.status))
		span.End()
		took := time.Since(start)
		g.log(ctx, r, rec.status, took, arrived, &pass)
		if g.record == nil {
			return
		}
		record := ledger.ProxyRecord{
			Time: start, Duration: took, Proxy: "gateway",
			Method: r.Method, Host: r.Host, Path: r.URL.Path, Query: r.URL.RawQuery,
			Arrived: arrived, Left: pass.left, Status: rec.status, TraceResponse: pass.traceResponse,
		}
		// Without a provider the span is not our own: it is the client's, passed on.
		if own := span.SpanContext(); own.IsValid() && own.SpanID() != trace.SpanContextFromContext(parent).SpanID() {
			record.TraceID, record.SpanID = own.TraceID().String(), own.SpanID().String()
		}
		if ok {
			record.Service = topology.ServiceOf(host)
		}
		g.record(record)
	}()

	if !ok {
		g.unknownHost(rec, r)
		return
	}
	r = r.WithContext(context.WithValue(ctx, passageKey{}, &pass))
	if r.Body != nil && r.Body != http.NoBody {
		pass.body = &clientBody{ReadCloser: r.Body}
		r.Body = pass.body
	}
	next.ServeHTTP(rec, r)
}

// passage is what becomes known of a request behind the reverse proxy, for the line that is logged and for the record. One
// goroutine serves a request from end to end.
type passage struct {
	err           error       // of the upstream
	left          http.Header // the propagation headers that were sent on; nil if it was not
	traceResponse string      // the upstream's
	body          *clientBody // nil for a request without
}
type passageKey struct{}

func passageOf(ctx context.Context) *passage {
	if pass, ok := ctx.Value(passageKey{}).(*passage); ok {
		return pass
	}
	return &passage{} // of nobody's interest
}

// clientBody remembers how far a request's body came, to tell a client that does not send it from an upstream that fails.
// The transport reads it in a goroutine of its own.
type clientBody struct {
	io.ReadCloser

	complete, broken atomic.Bool
}

func (b *clientBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case errors.Is(err, io.EOF):
		b.complete.Store(true)
	case err != nil:
		b.broken.Store(true)
	}
	return n, err
}

func (g *Gateway) log(ctx context.Context, r *http.Request, status int, d time.Duration, arrived http.Header, pass *passage) {
	level := slog.LevelInfo
	attrs := []slog.Attr{
		slog.String("method", r.Method),
		slog.String("host", r.Host),
		slog.String("path", r.URL.Path),
		slog.String("query", r.URL.RawQuery),
		slog.Int("status", status),
		slog.Float64("duration_ms", float64(d.Microseconds())/1000),
	}
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
		attrs = append(attrs, slog.String("trace_id", sc.TraceID().String()), slog.String("span_id", sc.SpanID().String()))
	}
	// With these the log alone is enough for `demo ledger`, as the services' own lines are.
	attrs = append(attrs, headerGroup("arrived", arrived))
	if pass.left != nil {
		attrs = append(attrs, headerGroup("left", pass.left))
	}
	if pass.traceResponse != "" {
		attrs = append(attrs, slog.String("traceresponse", pass.traceResponse))
	}
	err := pass.err
	switch {
	case status == StatusClientClosedRequest:
		attrs = append(attrs, slog.String("error", "the client hung up before the answer"))
	case err != nil && status == http.StatusRequestTimeout:
		level = slog.LevelWarn
		attrs = append(attrs, slog.String("error", "the client did not send the body that it announced: "+err.Error()))
	case err != nil:
		level = slog.LevelError
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	g.logger.LogAttrs(ctx, level, "request", attrs...)
}

// headerGroup writes headers as the services do: names in lower case, several values joined with a comma. slog leaves an
// empty group out, so that a map stands for it.
func headerGroup(name string, headers http.Header) slog.Attr {
	group := make(map[string]string, len(headers))
	for name, values := range headers {
		group[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	return slog.Any(name, group)
}

// rewriteTo points a request at its upstream and leaves the rest as the client sent it, the Host header included, as
// Traefik does unless told otherwise.
func rewriteTo(upstream *url.URL) func(*httputil.ProxyRequest) {
	return func(pr *httputil.ProxyRequest) {
		pr.Out.URL.Scheme = upstream.Scheme
		pr.Out.URL.Host = upstream.Host
		pr.Out.Host = pr.In.Host
		// ReverseProxy has dropped what it cannot parse from the query. The service is to judge that; a semicolon
		// becomes the ampersand that it once stood for, again as in Traefik.
		pr.Out.URL.RawQuery = strings.ReplaceAll(pr.In.URL.RawQuery, ";", "&")

		// What a client claims about proxies before this one is not believed: the incoming X-Forwarded-* are gone.
		pr.SetXForwarded()
		for _, name := range []string{"X-Forwarded-Port", "X-Forwarded-Server", "X-Real-Ip"} {
			pr.Out.Header.Del(name)
		}
		if ip, _, err := net.SplitHostPort(pr.In.RemoteAddr); err == nil {
			pr.Out.Header.Set("X-Real-Ip", ip)
		}
		pr.Out.Header.Set("X-Forwarded-Server", "gateway")
		pr.Out.Header.Set("X-Forwarded-Port", portAsked(pr.In))
	}
}

// failed answers for an upstream that did not.
func (g *Gateway) failed(w http.ResponseWriter, r *http.Request, err error) {
	pass := passageOf(r.Context())
	pass.err = err
	g.upstreamFailed(w, r, statusOf(err, pass))
}

// statusOf turns a transport's error into a status. The client that hung up, or did not send what it announced, is told
// apart from the upstream that was too slow, and all of them from the one that is not there.
func statusOf(err error, pass *passage) int {
	var netErr net.Error
	switch body := pass.body; {
	// The server may give the request up a moment before whoever reads its body hears of that.
	case body != nil && (body.broken.Load() || errors.Is(err, context.Canceled) && !body.complete.Load()):
		return http.StatusRequestTimeout
	case errors.Is(err, context.Canceled):
		return StatusClientClosedRequest
	case errors.Is(err, io.EOF):
		return http.StatusBadGateway
	case errors.As(err, &netErr) && netErr.Timeout():
		return http.StatusGatewayTimeout
	default:
		return http.StatusBadGateway
	}
}

// recorder remembers the status that went out. It does not hide what else the writer can do: http.ResponseController
// finds Flush and the deadlines through Unwrap.
type recorder struct {
	http.ResponseWriter
	draining *atomic.Bool

	status int
	wrote  bool
}

// WriteHeader keeps the final status; informational ones such as 103 may come before it.
func (r *recorder) WriteHeader(status int) {
	if !r.wrote && (status >= 200 || status == http.StatusSwitchingProtocols) {
		r.status, r.wrote = status, true
	}
	if status >= 200 && r.draining.Load() {
		r.Header().Set("Connection", "close")
	}
	r.ResponseWriter.WriteHeader(status)
}

// Hijack is called for a protocol switch only, whose 101 goes out past WriteHeader.
func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(r.ResponseWriter).Hijack()
	if err == nil {
		r.status, r.wrote = http.StatusSwitchingProtocols, true
	}
	return conn, rw, err
}

// Unwrap serves http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// portOf returns the port of host:port as a number, or what the scheme implies.
func portOf(u *url.URL) int {
	if p, err := strconv.Atoi(u.Port()); err == nil {
		return p
	}
	if u.Scheme == "https" {
		return 443
	}
	return 80
}
