package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// retry waits briefly, so that telemetry flows again within seconds of the back end's return.
var retry = otlptracegrpc.RetryConfig{
	Enabled: true, InitialInterval: 250 * time.Millisecond, MaxInterval: time.Second, MaxElapsedTime: time.Minute,
}

// newSpanExporter sends spans over gRPC. It does not connect yet: the back end may start later.
func newSpanExporter(ctx context.Context, log *slog.Logger) (sdktrace.SpanExporter, error) {
	if protocol := env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"); protocol != "grpc" {
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL=%q: this service speaks grpc only", protocol)
	}
	endpoint := env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4317"))
	// gRPC would ignore an address without a scheme, or use TLS, and guess a missing port.
	u, err := url.Parse(endpoint)
	if err != nil || u.Hostname() == "" || u.Scheme != "https" && (u.Scheme != "http" || u.Port() == "") {
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or OTEL_EXPORTER_OTLP_ENDPOINT=%q: "+
			"want http://host:port, or https:// for TLS", endpoint)
	}
	reconnect := grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: flushTimeout}
	reconnect.Backoff.MaxDelay = retry.MaxInterval // instead of gRPC's two minutes
	otlp, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(endpoint),
		otlptracegrpc.WithRetry(retry), otlptracegrpc.WithDialOption(grpc.WithConnectParams(reconnect)))
	if err != nil {
		return nil, fmt.Errorf("OTLP exporter to %s: %w", endpoint, err)
	}
	return &exporter[sdktrace.ReadOnlySpan]{send: otlp.ExportSpans, valid: validSpan, stop: otlp.Shutdown,
		log: log.With("what", "spans", "endpoint", endpoint)}, nil
}

// setUpLogs sends log lines to OTEL_EXPORTER_OTLP_LOGS_ENDPOINT too, over HTTP, when it is set.
func setUpLogs(ctx context.Context, res *resource.Resource, log *slog.Logger) (stop func(context.Context) error, err error) {
	endpoint := env("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "")
	if name := env("OTEL_LOGS_EXPORTER", "otlp"); name != "otlp" && name != "none" {
		return nil, fmt.Errorf("OTEL_LOGS_EXPORTER=%q: want otlp or none", name)
	} else if name == "none" || endpoint == "" {
		return func(context.Context) error { return nil }, nil
	}
	if u, err := url.Parse(endpoint); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=%q: want a URL such as http://loki:3100/otlp/v1/logs", endpoint)
	}
	otlp, err := otlploghttp.New(ctx, otlploghttp.WithRetry(otlploghttp.RetryConfig(retry)))
	if err != nil {
		return nil, fmt.Errorf("OTLP exporter to %s: %w", endpoint, err)
	}
	provider := sdklog.NewLoggerProvider(sdklog.WithResource(res), sdklog.WithProcessor(sdklog.NewBatchProcessor(
		&exporter[sdklog.Record]{send: otlp.Export, valid: validRecord, stop: otlp.Shutdown,
			log: log.With("what", "log lines", "endpoint", endpoint)})))
	otel.SetLoggerProvider(provider)
	return provider.Shutdown, nil
}

// exporter exports spans or log records. It logs what it loses, and when telemetry flows again.
type exporter[T any] struct {
	send  func(context.Context, []T) error
	valid func(T) T
	stop  func(context.Context) error
	log   *slog.Logger

	lost   int       // since the back end was last reached
	logged time.Time // when that was last logged
}

func (e *exporter[T]) ExportSpans(ctx context.Context, spans []T) error { return e.Export(ctx, spans) }
func (e *exporter[T]) ForceFlush(context.Context) error                 { return nil }
func (e *exporter[T]) Shutdown(ctx context.Context) error               { return e.stop(ctx) }

// Export mends text that is not UTF-8, which the SDK lets pass: one such byte would lose the whole
// batch. Mending requests as they come in would not do: a query has to travel on as it is, and an
// upstream's answers bring in such bytes, too. Export is never called twice at a time.
func (e *exporter[T]) Export(ctx context.Context, batch []T) error {
	err := e.send(ctx, batch)
	if err != nil && strings.Contains(err.Error(), "invalid UTF-8") {
		for i := range batch {
			batch[i] = e.valid(batch[i])
		}
		err = e.send(ctx, batch)
	}
	switch {
	case err != nil:
		e.lost += len(batch)
		if time.Since(e.logged) >= time.Minute {
			e.logged = time.Now()
			e.log.Warn("telemetry does not reach the back end; requests are answered all the same", "lost_so_far", e.lost, "error", err)
		}
	case e.lost > 0:
		e.log.Info("telemetry reaches the back end again", "lost", e.lost)
		e.lost, e.logged = 0, time.Time{}
	}
	return nil
}

func validSpan(span sdktrace.ReadOnlySpan) sdktrace.ReadOnlySpan {
	stub := tracetest.SpanStubFromReadOnlySpan(span) // the way to a copy that can be changed
	stub.Attributes = validText(stub.Attributes)
	for i, event := range stub.Events {
		stub.Events[i].Attributes = validText(event.Attributes)
	}
	stub.Status.Description = strings.ToValidUTF8(stub.Status.Description, "\uFFFD")
	return stub.Snapshot()
}

func validRecord(record sdklog.Record) sdklog.Record {
	var attributes []attribute.KeyValue
	record.WalkAttributes(func(kv attribute.KeyValue) bool {
		attributes = append(attributes, kv)
		return true
	})
	record = record.Clone()
	record.SetAttributes(validText(attributes)...)
	return record
}

// validText leaves lists of strings alone: they are only ever our own.
func validText(attributes []attribute.KeyValue) (valid []attribute.KeyValue) {
	for _, kv := range attributes {
		switch kv.Value.Type() {
		case attribute.STRING:
			kv.Value = attribute.StringValue(strings.ToValidUTF8(kv.Value.AsString(), "\uFFFD"))
		case attribute.MAP: // the headers of a request in its log line
			kv.Value = attribute.MapValue(validText(kv.Value.AsMap())...)
		}
		valid = append(valid, kv)
	}
	return valid
}
