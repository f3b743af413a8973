package main

import (
	"context"
	"errors"
	"fmt"
	"html"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/contrib/instrumentation/runtime"
	"go.opentelemetry.io/contrib/propagators/autoprop"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/exemplar"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

const (
	// scopeName says which code made a span, a metric or a log line.
	scopeName = "example.com/grafana-tempo-go-demo"
	// defaultEndpoint is the OpenTelemetry specification's default for OTLP over gRPC.
	defaultEndpoint = "http://localhost:4317"
	// flushTimeout bounds how long the last spans and log lines may take on the way out.
	flushTimeout = 5 * time.Second
	// maxRetryWait bounds the waits between attempts to reach the back end, so that all flows again within seconds
	// of its return. gRPC alone would grow its waits to two minutes.
	maxRetryWait = time.Second
	// repeatAfter is how often a lasting failure to export is logged.
	repeatAfter = time.Minute
	// traceMark stands in a page where the trace is named.
	traceMark = "{{trace}}"
	// traceIDMark stands in a link's pattern where the trace id goes.
	traceIDMark = "{trace_id}"
)

// durationBuckets are the bounds, in seconds, of the histograms of request durations. The semantic conventions advise
// others; these tell a database that takes one second from one that takes two.
var durationBuckets = []float64{.005, .01, .025, .05, .1, .15, .2, .25, .5, .75, 1, 1.25, 1.5, 1.75, 2, 2.25, 2.5, 5, 10}

// setUpTelemetry sets OpenTelemetry's globals up from the standard OTEL_* variables, of which the SDK reads most by
// itself, and returns the function that sends what is left and stops. It has a deadline of its own: call it when the
// last request has been answered, even though the context of the program is done by then.
//
// A setting that cannot work is an error. A back end that does not answer is none: spans are dropped, and the log says so.
func setUpTelemetry(ctx context.Context, log *slog.Logger) (shutdown func(), err error) {
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("telemetry", "error", err) }))

	propagator, err := autoprop.TextMapPropagator(listFromEnv("OTEL_PROPAGATORS", "jaeger")...)
	if err != nil {
		return nil, fmt.Errorf("OTEL_PROPAGATORS=%q: %w", os.Getenv("OTEL_PROPAGATORS"), err)
	}
	otel.SetTextMapPropagator(propagator)

	if strings.EqualFold(strings.TrimSpace(os.Getenv("OTEL_SDK_DISABLED")), "true") {
		log.Info("telemetry is off", "because", "OTEL_SDK_DISABLED=true")
		return func() {}, nil
	}

	res := newResource(ctx, log)
	var stops []func(context.Context) error
	stop := func() {
		flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
		defer cancel()
		var all sync.WaitGroup // at the same time: a back end that hangs must not cost another its last data
		for _, stop := range stops {
			all.Go(func() {
				if err := stop(flush); err != nil {
					log.Warn("the last telemetry was not sent", "error", err)
				}
			})
		}
		all.Wait()
	}
	// Metrics first: the others tell theirs how they are doing.
	for _, setUp := range []func(context.Context, *resource.Resource, *slog.Logger) (func(context.Context) error, error){
		setUpMetrics, setUpTraces, setUpLogs,
	} {
		stopOne, err := setUp(ctx, res, log)
		if err != nil {
			stop()
			return nil, err
		}
		if stopOne != nil {
			stops = append(stops, stopOne)
		}
	}
	return stop, nil
}

// setUpTraces sends spans to where OTEL_TRACES_EXPORTER says.
func setUpTraces(ctx context.Context, res *resource.Resource, log *slog.Logger) (stop func(context.Context) error, err error) {
	exporters := listFromEnv("OTEL_TRACES_EXPORTER", "otlp")
	if slices.Equal(exporters, []string{"none"}) {
		return nil, nil // no spans at all: ids that lead nowhere would only confuse
	}
	options := []sdktrace.TracerProviderOption{sdktrace.WithResource(res)}
	for _, name := range exporters {
		switch name {
		case "otlp":
			exporter, err := newOTLPExporter(ctx, log)
			if err != nil {
				return nil, err
			}
			options = append(options, sdktrace.WithBatcher(exporter))
		case "console":
			exporter, err := stdouttrace.New()
			if err != nil {
				return nil, fmt.Errorf("console exporter: %w", err)
			}
			options = append(options, sdktrace.WithBatcher(exporter))
		default:
			return nil, fmt.Errorf("OTEL_TRACES_EXPORTER=%q: want otlp, console or none", os.Getenv("OTEL_TRACES_EXPORTER"))
		}
	}
	provider := sdktrace.NewTracerProvider(options...)
	otel.SetTracerProvider(provider)
	return provider.Shutdown, nil
}

// setUpMetrics serves metrics at /metrics, on a port of its own that no proxy publishes, when OTEL_METRICS_EXPORTER is
// prometheus. Where it listens is set by the specification's OTEL_EXPORTER_PROMETHEUS_HOST and _PORT.
func setUpMetrics(_ context.Context, res *resource.Resource, log *slog.Logger) (stop func(context.Context) error, err error) {
	switch exporter := strings.TrimSpace(os.Getenv("OTEL_METRICS_EXPORTER")); exporter {
	case "", "none":
		return nil, nil
	case "prometheus":
	default:
		return nil, fmt.Errorf("OTEL_METRICS_EXPORTER=%q: want prometheus or none", exporter)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})) // memory and open files
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry))
	if err != nil {
		return nil, fmt.Errorf("prometheus exporter: %w", err)
	}
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter), sdkmetric.WithResource(res),
		sdkmetric.WithView(durationView("http.*.request.duration"), sdkmetric.NewView(
			sdkmetric.Instrument{Name: "http.*.body.size"}, sdkmetric.Stream{Aggregation: sdkmetric.AggregationDrop{}})))
	otel.SetMeterProvider(provider)
	if err := runtime.Start(runtime.WithMeterProvider(provider)); err != nil {
		return nil, fmt.Errorf("runtime metrics: %w", err)
	}

	addr := net.JoinHostPort(firstOf(os.Getenv("OTEL_EXPORTER_PROMETHEUS_HOST"), "localhost"), firstOf(os.Getenv("OTEL_EXPORTER_PROMETHEUS_PORT"), "9464"))
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w: choose another address with OTEL_EXPORTER_PROMETHEUS_HOST and OTEL_EXPORTER_PROMETHEUS_PORT", err)
	}
	mux := http.NewServeMux()
	// Exemplars exist in the OpenMetrics format only.
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	server := &http.Server{Handler: mux, ReadTimeout: flushTimeout, WriteTimeout: 2 * flushTimeout, MaxHeaderBytes: 16 << 10}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("metrics are no longer served", "error", err)
		}
	}()
	log.Info("serving metrics", "addr", listener.Addr().String())
	return func(ctx context.Context) error { return errors.Join(server.Close(), provider.Shutdown(ctx)) }, nil
}

// durationView sets the buckets of a duration's histogram, and leaves out what a stranger could make a new time series
// with each request of: the names in a request are the caller's words.
func durationView(instrument string) sdkmetric.View {
	return sdkmetric.NewView(sdkmetric.Instrument{Name: instrument}, sdkmetric.Stream{
		Aggregation:     sdkmetric.AggregationExplicitBucketHistogram{Boundaries: durationBuckets},
		AttributeFilter: attribute.NewDenyKeysFilter(semconv.ServerAddressKey, semconv.ServerPortKey, semconv.NetworkProtocolVersionKey),
		ExemplarReservoirProviderSelector: func(sdkmetric.Aggregation) exemplar.ReservoirProvider {
			provider := exemplar.HistogramReservoirProvider(durationBuckets)
			return func(attributes attribute.Set) exemplar.Reservoir { return briefReservoir{provider(attributes)} }
		},
	})
}

// briefReservoir keeps exemplars without the attributes that a view leaves out of the series: with them an exemplar
// soon is longer than the 128 characters that OpenMetrics grants, and is lost.
type briefReservoir struct{ exemplar.Reservoir }

func (r briefReservoir) Offer(ctx context.Context, t time.Time, value exemplar.Value, _ []attribute.KeyValue) {
	r.Reservoir.Offer(ctx, t, value, nil)
}

// setUpLogs sends log lines to OTEL_EXPORTER_OTLP_LOGS_ENDPOINT too, over HTTP, when it is set.
func setUpLogs(ctx context.Context, res *resource.Resource, log *slog.Logger) (stop func(context.Context) error, err error) {
	const variable = "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"
	endpoint := strings.TrimSpace(os.Getenv(variable))
	switch exporter := strings.TrimSpace(os.Getenv("OTEL_LOGS_EXPORTER")); {
	case exporter != "" && exporter != "otlp" && exporter != "none":
		return nil, fmt.Errorf("OTEL_LOGS_EXPORTER=%q: want otlp or none", exporter)
	case exporter == "none" || endpoint == "":
		return nil, nil
	}
	if u, err := url.Parse(endpoint); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%s=%q: want a URL such as http://loki:3100/otlp/v1/logs", variable, endpoint)
	}
	exporter, err := otlploghttp.New(ctx, otlploghttp.WithRetry(otlploghttp.RetryConfig{
		Enabled: true, InitialInterval: maxRetryWait / 4, MaxInterval: maxRetryWait, MaxElapsedTime: time.Minute,
	}))
	if err != nil {
		return nil, fmt.Errorf("OTLP exporter to %s: %w", endpoint, err)
	}
	provider := sdklog.NewLoggerProvider(sdklog.WithResource(res), sdklog.WithProcessor(sdklog.NewBatchProcessor(
		&reportingLogExporter{exporter, report{what: "log lines", endpoint: endpoint, log: log}})))
	otel.SetLoggerProvider(provider)
	return provider.Shutdown, nil
}

// firstOf returns the first of the values that is not blank.
func firstOf(values ...string) string {
	for _, value := range values {
		if value = strings.TrimSpace(value); value != "" {
			return value
		}
	}
	return ""
}

// listFromEnv returns the comma-separated names in variable, or the preset where it is empty.
func listFromEnv(variable, preset string) []string {
	value := os.Getenv(variable)
	if strings.TrimSpace(value) == "" {
		value = preset
	}
	var names []string
	for name := range strings.SplitSeq(value, ",") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// newResource describes this process. What can't be found out is logged and left out; the environment wins.
func newResource(ctx context.Context, log *slog.Logger) *resource.Resource {
	res, err := resource.New(ctx,
		resource.WithService(),
		resource.WithHost(),
		resource.WithTelemetrySDK(),
		resource.WithOS(),
		resource.WithProcess(),
		resource.WithFromEnv())
	if err != nil {
		log.Warn("resource is incomplete", "error", err)
	}
	if name, _ := res.Set().Value(semconv.ServiceNameKey); strings.HasPrefix(name.AsString(), "unknown_service") {
		log.Warn("traces will not name this service: set OTEL_SERVICE_NAME", "service.name", name.AsString())
	}
	return res
}

// newOTLPExporter sends spans over gRPC. It does not connect yet: the back end may come later than we do.
func newOTLPExporter(ctx context.Context, log *slog.Logger) (sdktrace.SpanExporter, error) {
	if protocol := strings.TrimSpace(os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL")); protocol != "" && protocol != "grpc" {
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL=%q: this service speaks grpc only", protocol)
	}
	endpoint, err := endpointFromEnv()
	if err != nil {
		return nil, err
	}
	reconnect := grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: flushTimeout}
	reconnect.Backoff.MaxDelay = maxRetryWait
	exporter, err := otlptracegrpc.New(ctx,
		otlptracegrpc.WithEndpointURL(endpoint),
		otlptracegrpc.WithDialOption(grpc.WithConnectParams(reconnect)),
		otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{
			Enabled:         true,
			InitialInterval: maxRetryWait / 4,
			MaxInterval:     maxRetryWait,
			MaxElapsedTime:  time.Minute, // the exporter's own timeout, OTEL_EXPORTER_OTLP_TIMEOUT, is shorter
		}))
	if err != nil {
		return nil, fmt.Errorf("OTLP exporter to %s: %w", endpoint, err)
	}
	return &reportingExporter{exporter, report{what: "spans", endpoint: endpoint, log: log}}, nil
}

// endpointFromEnv returns the URL to export to. It refuses what gRPC would misread: an address without a scheme is
// ignored or tried with TLS, depending on its form, and one without a port goes to a web server's.
func endpointFromEnv() (string, error) {
	for _, variable := range []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"} {
		value := strings.TrimSpace(os.Getenv(variable))
		if value == "" {
			continue
		}
		u, err := url.Parse(value)
		if err != nil || u.Hostname() == "" || !(u.Scheme == "https" || u.Scheme == "http" && u.Port() != "") {
			return "", fmt.Errorf("%s=%q: want http://host:port, such as %s, or https:// for TLS", variable, value, defaultEndpoint)
		}
		return value, nil
	}
	return defaultEndpoint, nil
}

// report logs when something stops reaching its back end, seldom while that lasts, and when it does again. Exporters are
// never called twice at a time, so it needs no lock.
type report struct {
	what, endpoint string
	log            *slog.Logger

	lost int       // since the back end was last reached
	said time.Time // when that was last logged
}

// result takes the outcome of exporting n of what is reported on.
func (r *report) result(n int, err error) {
	switch {
	case err != nil:
		r.lost += n
		if time.Since(r.said) >= repeatAfter {
			r.said = time.Now()
			r.log.Warn("telemetry does not reach the back end; requests are answered all the same",
				"what", r.what, "endpoint", r.endpoint, "lost", r.lost, "error", err)
		}
	case r.lost > 0:
		r.log.Info("telemetry reaches the back end again", "what", r.what, "endpoint", r.endpoint, "lost", r.lost)
		r.lost, r.said = 0, time.Time{}
	}
}

type reportingExporter struct {
	sdktrace.SpanExporter
	report
}

// ExportSpans returns no error: what there is to say has been logged.
func (e *reportingExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	for i, span := range spans {
		spans[i] = withValidText(span)
	}
	e.result(len(spans), e.SpanExporter.ExportSpans(ctx, spans))
	return nil
}

type reportingLogExporter struct {
	sdklog.Exporter
	report
}

// Export returns no error: what there is to say has been logged.
func (e *reportingLogExporter) Export(ctx context.Context, records []sdklog.Record) error {
	for i := range records {
		var attributes []attribute.KeyValue
		records[i].WalkAttributes(func(kv attribute.KeyValue) bool {
			attributes = append(attributes, kv)
			return true
		})
		if mended, valid := validText(attributes); !valid {
			records[i] = records[i].Clone()
			records[i].SetAttributes(mended...)
		}
	}
	e.result(len(records), e.Exporter.Export(ctx, records))
	return nil
}

// withValidText returns a span that can be exported. OTLP's text is UTF-8, and one byte that is not, sent by a stranger in
// a path or a User-Agent, would lose the whole batch. The SDK lets it pass.
func withValidText(span sdktrace.ReadOnlySpan) sdktrace.ReadOnlySpan {
	attributes, valid := validText(span.Attributes())
	var events []sdktrace.Event // a copy, once one of them has to change
	for i, event := range span.Events() {
		if attributes, ok := validText(event.Attributes); !ok {
			if events == nil {
				events = slices.Clone(span.Events())
			}
			events[i].Attributes = attributes
		}
	}
	status := span.Status()
	if valid && events == nil && utf8.ValidString(status.Description) {
		return span
	}
	if events == nil {
		events = span.Events()
	}
	status.Description = strings.ToValidUTF8(status.Description, "\uFFFD")
	return mendedSpan{span, attributes, events, status}
}

// mendedSpan is a span with some of its text replaced.
type mendedSpan struct {
	sdktrace.ReadOnlySpan
	attributes []attribute.KeyValue
	events     []sdktrace.Event
	status     sdktrace.Status
}

func (s mendedSpan) Attributes() []attribute.KeyValue { return s.attributes }
func (s mendedSpan) Events() []sdktrace.Event         { return s.events }
func (s mendedSpan) Status() sdktrace.Status          { return s.status }

// validText returns attrs as they are and true, or a copy in which all strings are UTF-8 and false. Lists of strings are
// only ever our own, so they are not looked at.
func validText(attrs []attribute.KeyValue) (mended []attribute.KeyValue, valid bool) {
	mended, valid = attrs, true
	for i, kv := range attrs {
		value, ok := kv.Value, true
		switch value.Type() {
		case attribute.STRING:
			if ok = utf8.ValidString(value.AsString()); !ok {
				value = attribute.StringValue(strings.ToValidUTF8(value.AsString(), "\uFFFD"))
			}
		case attribute.MAP: // the headers of a request in its log line
			var entries []attribute.KeyValue
			if entries, ok = validText(value.AsMap()); !ok {
				value = attribute.MapValue(entries...)
			}
		}
		if ok {
			continue
		}
		if valid {
			mended, valid = slices.Clone(attrs), false
		}
		mended[i].Value = value
	}
	return mended, valid
}

// withTelemetry makes a log handler add the ids of the span that a line is written in, and send the line over OTLP when
// that is set up, sooner or later. The handler's level holds for both.
func withTelemetry(handler slog.Handler) slog.Handler {
	return telemetryHandler{handler, otelslog.NewHandler(scopeName)}
}

type telemetryHandler struct{ handler, otlp slog.Handler }

func (h telemetryHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.handler.Enabled(ctx, level)
}

func (h telemetryHandler) Handle(ctx context.Context, record slog.Record) error {
	var err error
	if h.otlp.Enabled(ctx, record.Level) {
		err = h.otlp.Handle(ctx, record.Clone()) // it takes the ids from ctx by itself
	}
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		record.AddAttrs(slog.String("trace_id", span.TraceID().String()), slog.String("span_id", span.SpanID().String()))
	}
	return errors.Join(err, h.handler.Handle(ctx, record))
}

func (h telemetryHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return telemetryHandler{h.handler.WithAttrs(attrs), h.otlp.WithAttrs(attrs)}
}

func (h telemetryHandler) WithGroup(name string) slog.Handler {
	return telemetryHandler{h.handler.WithGroup(name), h.otlp.WithGroup(name)}
}

// spanName gives otelhttp's spans a fixed name; by default they are named by the request.
func spanName(name string) otelhttp.Option {
	return otelhttp.WithSpanNameFormatter(func(string, *http.Request) string { return name })
}

// endSpan ends a span with Ok, or with Error and err recorded.
func endSpan(span trace.Span, err error) {
	if err != nil {
		span.RecordError(err)
		span.SetStatus(codes.Error, err.Error())
	} else {
		span.SetStatus(codes.Ok, "")
	}
	span.End()
}

// setTraceResponse tells the caller which trace its request was, as
// https://www.w3.org/TR/trace-context-2/#traceresponse-header has it. Call it before the answer's first byte.
func setTraceResponse(header http.Header, span trace.SpanContext) {
	if span.IsValid() {
		header.Set("traceresponse", "00-"+span.TraceID().String()+"-"+span.SpanID().String()+"-"+span.TraceFlags().String())
	}
}

// withTrace names the trace in a page, where the page has room for it, with a link when there is a pattern for one.
func withTrace(page, linkPattern string, span trace.SpanContext) string {
	line := "not sampled"
	if span.IsSampled() {
		line = span.TraceID().String()
		if linkPattern != "" {
			link := strings.ReplaceAll(linkPattern, traceIDMark, line)
			line = `<a href="` + html.EscapeString(link) + `">` + line + `</a>`
		}
	}
	return strings.Replace(page, traceMark, line, 1)
}

// checkTraceLink says what is wrong with a link's pattern. None at all is fine.
func checkTraceLink(pattern string) error {
	if pattern == "" {
		return nil
	}
	u, err := url.Parse(pattern)
	if err != nil {
		return fmt.Errorf("-trace-link: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || !strings.Contains(pattern, traceIDMark) {
		return errors.New("-trace-link: want an http or https URL with " + traceIDMark + " where the trace id goes")
	}
	return nil
}
