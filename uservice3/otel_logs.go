package main

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/otel/trace"
)

// withTelemetry makes a log handler add the ids of the span in ctx to each line, and send the line
// over OTLP as well once that is set up. The handler's level holds for both.
func withTelemetry(handler slog.Handler) slog.Handler {
	return telemetryHandler{handler, otelslog.NewHandler(scopeName)}
}

type telemetryHandler struct {
	slog.Handler
	otlp slog.Handler
}

func (h telemetryHandler) Handle(ctx context.Context, record slog.Record) error {
	// The SDK may log while it queues a line, with a lock held. Sent too, that line would wait for itself.
	if record.Message != sdkSays && h.otlp.Enabled(ctx, record.Level) {
		h.otlp.Handle(ctx, record.Clone()) // takes the ids from ctx, and cannot fail: it only queues the line
	}
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		record.AddAttrs(slog.String("trace_id", span.TraceID().String()), slog.String("span_id", span.SpanID().String()))
	}
	return h.Handler.Handle(ctx, record)
}

func (h telemetryHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return telemetryHandler{h.Handler.WithAttrs(attrs), h.otlp.WithAttrs(attrs)}
}

func (h telemetryHandler) WithGroup(name string) slog.Handler {
	return telemetryHandler{h.Handler.WithGroup(name), h.otlp.WithGroup(name)}
}
