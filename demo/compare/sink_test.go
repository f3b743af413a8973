package compare

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"testing"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

func TestSpansAreCounted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	served := make(chan error, 1)
	go func() { served <- ServeSink(ctx, in) }()
	var line struct{ Msg, Addr string }
	lines := bufio.NewScanner(out)
	if lines.Scan(); json.Unmarshal(lines.Bytes(), &line) != nil || line.Msg != "listening" {
		t.Fatal(lines.Text(), lines.Err())
	}
	exporter, err := otlptracegrpc.New(t.Context(), otlptracegrpc.WithEndpointURL("http://"+line.Addr))
	if err != nil {
		t.Fatal(err)
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter, sdktrace.WithMaxExportBatchSize(100), sdktrace.WithBlocking()))
	for i := range 1234 {
		_, span := provider.Tracer(fmt.Sprint("scope ", i%3)).Start(t.Context(), "x")
		span.AddEvent("y")
		span.End()
	}
	if err := provider.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	cancel()
	if lines.Scan(); lines.Text() != "1234" {
		t.Errorf("last line %q, %v", lines.Text(), lines.Err())
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	for name, export := range map[string]string{"empty": "", "cut off": "\x0a\x7f\x12", "no protobuf": "hello, world"} {
		if n := count([]byte(export), pathToSpans); n != 0 {
			t.Errorf("%s: %d spans", name, n)
		}
	}
}
