package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/contrib/propagators/jaeger"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// TestMain keeps the tests from looking for a trace back end, unless one of them sets an endpoint
// for itself.
func TestMain(m *testing.M) {
	os.Setenv("OTEL_TRACES_EXPORTER", "none")
	os.Setenv("OTEL_SERVICE_NAME", "the-service")
	os.Exit(m.Run())
}

// record makes OpenTelemetry's globals keep every span in memory and propagate in Jaeger's format.
// Services that are made afterwards use them.
func record(t *testing.T) *tracetest.InMemoryExporter {
	t.Helper()
	exporter := tracetest.NewInMemoryExporter()
	otel.SetTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter)))
	otel.SetTextMapPropagator(jaeger.Jaeger{})
	return exporter
}

// describe writes spans as a tree, a line each: kind, name, status, and attributes; events below.
// What differs from run to run is left out.
func describe(spans tracetest.SpanStubs) string {
	slices.SortFunc(spans, func(a, b tracetest.SpanStub) int { return a.StartTime.Compare(b.StartTime) })
	known := map[trace.SpanID]bool{}
	for _, span := range spans {
		known[span.SpanContext.SpanID()] = true
	}
	var text strings.Builder
	var write func(span tracetest.SpanStub, indent string)
	write = func(span tracetest.SpanStub, indent string) {
		fmt.Fprintf(&text, "%s%s %s: %s%s\n", indent, span.SpanKind, span.Name, span.Status.Code, attributes(span.Attributes))
		for _, event := range span.Events {
			fmt.Fprintf(&text, "%s  event %s%s\n", indent, event.Name, attributes(event.Attributes))
		}
		for _, child := range spans {
			if child.Parent.SpanID() == span.SpanContext.SpanID() {
				write(child, indent+"  ")
			}
		}
	}
	for _, span := range spans {
		if !known[span.Parent.SpanID()] {
			write(span, "")
		}
	}
	return text.String()
}

// attributes writes what is the same in every run.
func attributes(attrs []attribute.KeyValue) string {
	slices.SortFunc(attrs, func(a, b attribute.KeyValue) int { return cmp.Compare(a.Key, b.Key) })
	var text strings.Builder
	for _, kv := range attrs {
		switch kv.Key {
		case "client.address", "network.peer.address", "network.peer.port", "server.address", "server.port", "url.full",
			"user_agent.original", "exception.stacktrace", "network.protocol.version", "http.response.body.size":
			continue
		}
		fmt.Fprintf(&text, " %s=%s", kv.Key, kv.Value.String())
	}
	return text.String()
}
