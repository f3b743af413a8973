package main

import (
	"context"
	"errors"
	"fmt"
	"html"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/contrib/propagators/autoprop"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

const (
	// scopeName says which code made a span.
	scopeName = "example.com/grafana-tempo-go-demo"
	// defaultEndpoint is the OpenTelemetry specification's default for OTLP over gRPC.
	defaultEndpoint = "http://localhost:4317"
	// flushTimeout bounds how long the last spans may take on the way out.
	flushTimeout = 5 * time.Second
	// maxRetryWait bounds the waits between attempts to reach the back end, so that spans flow again within seconds
	// of its return. gRPC alone would grow its waits to two minutes.
	maxRetryWait = time.Second
	// repeatAfter is how often a lasting failure to export is logged.
	repeatAfter = time.Minute
	// traceMark stands in a page where the trace is named.
	traceMark = "{{trace}}"
	// traceIDMark stands in a link's pattern where the trace id goes.
	traceIDMark = "{trace_id}"
)

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
		log.Info("tracing is off", "because", "OTEL_SDK_DISABLED=true")
		return func() {}, nil
	}

	options := []sdktrace.TracerProviderOption{sdktrace.WithResource(newResource(ctx, log))}
	for _, name := range listFromEnv("OTEL_TRACES_EXPORTER", "otlp") {
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
		case "none":
		default:
			return nil, fmt.Errorf("OTEL_TRACES_EXPORTER=%q: want otlp, console or none", os.Getenv("OTEL_TRACES_EXPORTER"))
		}
	}
	provider := sdktrace.NewTracerProvider(options...)
	otel.SetTracerProvider(provider)
	return func() {
		flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
		defer cancel()
		if err := provider.Shutdown(flush); err != nil {
			log.Warn("the last spans were not sent", "error", err)
		}
	}, nil
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
	return &reportingExporter{SpanExporter: exporter, endpoint: endpoint, log: log}, nil
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

// reportingExporter logs when spans stop reaching the back end, seldom while that lasts, and when they do again.
// The batch processor, which calls it, never calls it twice at a time.
type reportingExporter struct {
	sdktrace.SpanExporter
	endpoint string
	log      *slog.Logger

	lost int       // spans, since the back end was last reached
	said time.Time // when that was last logged
}

// ExportSpans returns no error: what there is to say has been logged.
func (e *reportingExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	for i, span := range spans {
		spans[i] = withValidText(span)
	}
	err := e.SpanExporter.ExportSpans(ctx, spans)
	switch {
	case err != nil:
		e.lost += len(spans)
		if time.Since(e.said) >= repeatAfter {
			e.said = time.Now()
			e.log.Warn("spans do not reach the back end; requests are answered all the same",
				"endpoint", e.endpoint, "lost_spans", e.lost, "error", err)
		}
	case e.lost > 0:
		e.log.Info("spans reach the back end again", "endpoint", e.endpoint, "lost_spans", e.lost)
		e.lost, e.said = 0, time.Time{}
	}
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
		if kv.Value.Type() != attribute.STRING || utf8.ValidString(kv.Value.AsString()) {
			continue
		}
		if valid {
			mended, valid = slices.Clone(attrs), false
		}
		mended[i].Value = attribute.StringValue(strings.ToValidUTF8(kv.Value.AsString(), "\uFFFD"))
	}
	return mended, valid
}

// withTraceIDs makes a log handler add the ids of the span that a line is written in.
func withTraceIDs(handler slog.Handler) slog.Handler { return traceIDHandler{handler} }

type traceIDHandler struct{ slog.Handler }

func (h traceIDHandler) Handle(ctx context.Context, record slog.Record) error {
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		record.AddAttrs(slog.String("trace_id", span.TraceID().String()), slog.String("span_id", span.SpanID().String()))
	}
	return h.Handler.Handle(ctx, record)
}

func (h traceIDHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return traceIDHandler{h.Handler.WithAttrs(attrs)}
}

func (h traceIDHandler) WithGroup(name string) slog.Handler {
	return traceIDHandler{h.Handler.WithGroup(name)}
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
