package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/contrib/propagators/autoprop"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

const (
	scopeName    = "example.com/grafana-tempo-go-demo" // says which code made a span, a metric or a log line
	flushTimeout = 5 * time.Second                     // bounds how long a stop waits for the last telemetry
)

// setUpTelemetry sets up OpenTelemetry's globals from the standard OTEL_* variables, most of which
// the SDK reads by itself. Call shutdown after the last request, to send what is left: it has a
// deadline of its own, so the program's context may be done by then.
//
// A setting that cannot work is an error. A back end that does not answer is none: telemetry is
// dropped, and the log says so.
//
// Why not contrib's autoexport or otelconf? The first has no exemplars and lets gRPC wait up to two
// minutes before it reconnects. The second is experimental and orders propagators at random.
func setUpTelemetry(ctx context.Context, log *slog.Logger) (shutdown func(), err error) {
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("telemetry", "error", err) }))

	propagators := env("OTEL_PROPAGATORS", "jaeger")
	propagator, err := autoprop.TextMapPropagator(strings.Fields(strings.ReplaceAll(propagators, ",", " "))...)
	if err != nil {
		return nil, fmt.Errorf("OTEL_PROPAGATORS=%q: %w", propagators, err)
	}
	otel.SetTextMapPropagator(propagator)

	if strings.EqualFold(env("OTEL_SDK_DISABLED", "false"), "true") {
		log.Info("telemetry is off", "because", "OTEL_SDK_DISABLED=true")
		return func() {}, nil
	}

	res := newResource(ctx, log)
	stopMetrics, metricsErr := setUpMetrics(res, log) // first, so that the others can report their health
	stopTraces, tracesErr := setUpTraces(ctx, res, log)
	stopLogs, logsErr := setUpLogs(ctx, res, log)
	if err := errors.Join(metricsErr, tracesErr, logsErr); err != nil {
		return nil, err
	}
	return func() {
		flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
		defer cancel()
		var all sync.WaitGroup // at the same time: a back end that hangs must not cost another its last data
		for _, stop := range []func(context.Context) error{stopMetrics, stopTraces, stopLogs} {
			all.Go(func() {
				if err := stop(flush); err != nil {
					log.Warn("the last telemetry was not sent", "error", err)
				}
			})
		}
		all.Wait()
	}, nil
}

// newResource describes this process, as far as that can be found out. The environment wins.
func newResource(ctx context.Context, log *slog.Logger) *resource.Resource {
	res, err := resource.New(ctx, resource.WithService(), resource.WithHost(), resource.WithTelemetrySDK(),
		resource.WithOS(), resource.WithProcess(), resource.WithFromEnv())
	if err != nil {
		log.Warn("resource is incomplete", "error", err)
	}
	if name, _ := res.Set().Value(semconv.ServiceNameKey); strings.HasPrefix(name.AsString(), "unknown_service") {
		log.Warn("traces will not name this service: set OTEL_SERVICE_NAME", "service.name", name.AsString())
	}
	return res
}

// setUpTraces sends spans, in batches, to where OTEL_TRACES_EXPORTER says.
func setUpTraces(ctx context.Context, res *resource.Resource, log *slog.Logger) (stop func(context.Context) error, err error) {
	var exporter sdktrace.SpanExporter
	switch name := env("OTEL_TRACES_EXPORTER", "otlp"); name {
	case "otlp":
		exporter, err = newSpanExporter(ctx, log)
	case "console":
		exporter, err = stdouttrace.New()
	case "none":
		return func(context.Context) error { return nil }, nil // ids that lead nowhere would only confuse
	default:
		err = fmt.Errorf("OTEL_TRACES_EXPORTER=%q: want one of otlp, console or none", name)
	}
	if err != nil {
		return nil, err
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithResource(res), sdktrace.WithBatcher(exporter))
	otel.SetTracerProvider(provider)
	return provider.Shutdown, nil
}

// spanName gives otelhttp's spans a fixed name. By default they are named after the request.
func spanName(name string) otelhttp.Option {
	return otelhttp.WithSpanNameFormatter(func(string, *http.Request) string { return name })
}

// endSpan ends a span with status Ok, or with Error and err recorded.
func endSpan(span trace.Span, err error) {
	if err != nil {
		span.RecordError(err)
		span.SetStatus(codes.Error, err.Error())
	} else {
		span.SetStatus(codes.Ok, "")
	}
	span.End()
}

// env returns the value of a variable. An empty one counts as not set.
func env(name, preset string) string {
	return cmp.Or(strings.TrimSpace(os.Getenv(name)), preset)
}
