package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
)

// backend is a trace back end that keeps what it gets.
type backend struct {
	coltracepb.UnimplementedTraceServiceServer
	mu    sync.Mutex
	spans []*tracepb.Span
}

func (b *backend) Export(_ context.Context, req *coltracepb.ExportTraceServiceRequest) (*coltracepb.ExportTraceServiceResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, rs := range req.ResourceSpans {
		for _, ss := range rs.ScopeSpans {
			b.spans = append(b.spans, ss.Spans...)
		}
	}
	return &coltracepb.ExportTraceServiceResponse{}, nil
}

// named returns the spans with a name.
func (b *backend) named(name string) []*tracepb.Span {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(b.spans), func(span *tracepb.Span) bool { return span.Name != name })
}

func (b *backend) has(name string) bool { return len(b.named(name)) > 0 }

// serve listens on addr until the returned function is called.
func (b *backend) serve(t *testing.T, addr string) (string, func()) {
	t.Helper()
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	coltracepb.RegisterTraceServiceServer(server, b)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return listener.Addr().String(), server.Stop
}

func TestSpansSurviveTheBackEndsAbsence(t *testing.T) {
	b, logs := &backend{}, &logBuffer{}
	addr, stop := b.serve(t, "127.0.0.1:0")
	t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://"+addr)
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "100") // a batch is given up after these milliseconds
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
	shutdown, err := setUpTelemetry(t.Context(), slog.New(slog.NewJSONHandler(logs, nil)))
	if err != nil {
		t.Fatal(err)
	}
	span := func(name string) {
		_, span := otel.Tracer(scopeName).Start(t.Context(), name)
		span.End()
	}
	span("before")
	waitFor(t, "the first span", func() bool { return b.has("before") })

	stop()
	span("lost")
	waitFor(t, "the log line", func() bool {
		return len(logs.lines(t, "telemetry does not reach the back end; requests are answered all the same")) == 1
	})
	b.serve(t, addr)
	waitFor(t, "spans to flow again", func() bool {
		span("after")
		return b.has("after")
	})
	waitFor(t, "the log line", func() bool {
		return len(logs.lines(t, "telemetry reaches the back end again")) == 1
	})
	span("last")
	shutdown()
	if !b.has("last") {
		t.Error("the span before the shutdown was not sent")
	}
	// The first line comes with the first loss; only the last one knows the sum.
	for message, name := range map[string]string{
		"telemetry does not reach the back end; requests are answered all the same": "lost_so_far",
		"telemetry reaches the back end again":                                      "lost",
	} {
		if n, _ := logs.lines(t, message)[0][name].(float64); n < 1 {
			t.Errorf("no number of %s: %s", name, logs)
		}
	}
	if lines := strings.Count(logs.String(), "\n"); lines != 2 {
		t.Errorf("%d log lines for one absence:\n%s", lines, logs)
	}
}

func TestTextThatIsNoUTF8LosesNothing(t *testing.T) {
	b, logs := &backend{}, &logBuffer{}
	addr, _ := b.serve(t, "127.0.0.1:0")
	t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://"+addr)
	shutdown, err := setUpTelemetry(t.Context(), slog.New(slog.NewJSONHandler(logs, nil)))
	if err != nil {
		t.Fatal(err)
	}
	const bad, mended = "a\xffb", "a\uFFFDb"
	tracer := otel.Tracer(scopeName)
	_, span := tracer.Start(t.Context(), "attribute", trace.WithAttributes(attribute.Int("n", 1), attribute.String("text", bad)))
	span.End()
	_, span = tracer.Start(t.Context(), "event")
	span.AddEvent("event", trace.WithAttributes(attribute.String("text", bad)))
	span.End()
	_, span = tracer.Start(t.Context(), "status")
	endSpan(span, errors.New(bad))
	_, span = tracer.Start(t.Context(), "all is well")
	span.End()
	shutdown()
	for name, text := range map[string]func(*tracepb.Span) string{
		"attribute":   func(span *tracepb.Span) string { return text(span.Attributes, "text") },
		"event":       func(span *tracepb.Span) string { return text(span.Events[0].Attributes, "text") },
		"status":      func(span *tracepb.Span) string { return span.Status.Message },
		"all is well": func(*tracepb.Span) string { return mended },
	} {
		if spans := b.named(name); len(spans) != 1 || text(spans[0]) != mended {
			t.Errorf("%s: received %v, want %q; logged %s", name, spans, mended, logs)
		}
	}
}

// text returns the value of a text attribute.
func text(attributes []*commonpb.KeyValue, key string) string {
	for _, kv := range attributes {
		if kv.Key == key {
			return kv.Value.GetStringValue()
		}
	}
	return ""
}
