package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/contrib/propagators/jaeger"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

const scopeName = "example.com/grafana-tempo-go-demo" // says which code made a span, a metric or a log line
var flushTimeout = 5 * time.Second                    // bounds how long a stop waits for the last telemetry

// setUpTelemetry sets up OpenTelemetry's globals from the standard OTEL_* variables, most of which
// the SDK reads by itself. Call shutdown after the last request, to send what is left: it has a
// deadline of its own, so the program's context may be done by then.
//
// A setting that cannot work is an error. A back end that does not answer is not an error: spans
// wait for it, and the log says so.
func setUpTelemetry(ctx context.Context, log *slog.Logger) (shutdown func(), err error) {
	if err := checkSettings(log); err != nil {
		return nil, err
	}
	otel.SetTextMapPropagator(newPropagator(env("OTEL_PROPAGATORS", "jaeger")))
	if env("OTEL_SDK_DISABLED", "false") == "true" {
		log.Info("telemetry is off", "because", "OTEL_SDK_DISABLED=true")
		return func() {}, nil
	}
	var stops []func(context.Context) error
	shutdown = func() {
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
	res := newResource(ctx, log)
	for _, setUp := range []setUpSignal{setUpMetrics, setUpTraces, setUpLogs} { // metrics tell the others' health
		stop, err := setUp(ctx, res, log)
		if err != nil {
			shutdown()
			return nil, err
		}
		stops = append(stops, stop)
	}
	return shutdown, nil
}

// newPropagator returns what reads the caller's span from the headers of a request and writes our
// own into the headers of the next. This joins the spans of several services to one trace.
func newPropagator(names string) propagation.TextMapPropagator {
	var all []propagation.TextMapPropagator
	for name := range strings.SplitSeq(names, ",") {
		switch strings.TrimSpace(name) { // checkSettings lets no other pass, but none
		case "jaeger": // the header uber-trace-id
			all = append(all, jaeger.Jaeger{})
		case "tracecontext": // the headers traceparent and tracestate, which W3C has standardized
			all = append(all, propagation.TraceContext{})
		case "baggage": // the header baggage: values that travel along with the trace
			all = append(all, propagation.Baggage{})
		}
	}
	return propagation.NewCompositeTextMapPropagator(all...)
}

// newResource describes this process, once for all its spans: service.name, os.type, process.pid,
// process.command_args and more, which a search can ask for. The environment wins.
func newResource(ctx context.Context, log *slog.Logger) *resource.Resource {
	res, err := resource.New(ctx, resource.WithService(), resource.WithHost(), resource.WithTelemetrySDK(),
		resource.WithOS(), resource.WithProcess(), resource.WithFromEnv())
	if err != nil {
		log.Warn("resource is incomplete", "error", err)
	}
	if name, _ := res.Set().Value(semconv.ServiceNameKey); strings.HasPrefix(name.AsString(), "unknown_service") {
		log.Warn("traces will not name this service: set OTEL_SERVICE_NAME", "service.name", name.AsString())
	}
	return resource.NewWithAttributes(res.SchemaURL(), mended(res.Attributes())...)
}

// setUpTraces sends spans to where OTEL_TRACES_EXPORTER says, in batches: sent one by one, each
// would block its request, up to 10 s while the back end is away. The provider makes random ids.
// OTEL_TRACES_SAMPLER says what is recorded: by default what the caller records, or all if there is none.
func setUpTraces(ctx context.Context, res *resource.Resource, log *slog.Logger) (stop func(context.Context) error, err error) {
	var exporter sdktrace.SpanExporter
	switch env("OTEL_TRACES_EXPORTER", "otlp") {
	case "otlp":
		exporter, err = newSpanExporter(ctx, log)
	case "console":
		exporter, err = stdouttrace.New(stdouttrace.WithPrettyPrint())
	case "none":
		return stopNothing, nil // ids that lead nowhere would only confuse
	}
	if err != nil {
		return nil, err
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithResource(res), sdktrace.WithBatcher(exporter))
	otel.SetTracerProvider(provider)
	return provider.Shutdown, nil
}

// spanName gives otelhttp's spans a fixed name. By default they are named after the request, and the server
// after the Host header, also in metrics: a stranger could make a new time series with each request. Without
// a port in its name the header's would be taken; 80 is left out.
func spanName(name string) []otelhttp.Option {
	return []otelhttp.Option{
		otelhttp.WithSpanNameFormatter(func(string, *http.Request) string { return name }),
		otelhttp.WithServerName(url.QueryEscape(env("OTEL_SERVICE_NAME", "localhost")) + ":80"),
		otelhttp.WithTracerProvider(otel.GetTracerProvider()), // otherwise looked up with each request
	}
}

// endSpan, when deferred, ends a span by how its function ended: status Ok, or Error with err or
// the panic recorded. A panic goes on: with status Ok, its span would hide it.
func endSpan(span trace.Span, err *error) {
	reason := recover()
	if reason != nil {
		*err = fmt.Errorf("panic: %v", reason)
	}
	if *err != nil {
		span.RecordError(*err)
		span.SetStatus(codes.Error, (*err).Error())
		span.SetAttributes(semconv.ErrorType(*err))
	} else {
		span.SetStatus(codes.Ok, "")
	}
	span.End()
	if reason != nil {
		panic(reason)
	}
}
