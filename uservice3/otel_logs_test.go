package main

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"go.opentelemetry.io/otel"
	collogspb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/proto"
)

func TestLogLinesNameTheirSpan(t *testing.T) {
	record(t)
	logs := &logBuffer{}
	log := slog.New(withTelemetry(slog.NewJSONHandler(logs, nil))).With("a", 1).WithGroup("")
	ctx, span := otel.Tracer(scopeName).Start(t.Context(), "request")
	log.InfoContext(ctx, "inside")
	log.Info("outside")
	id := span.SpanContext()
	if line := logs.lines(t, "inside")[0]; line["trace_id"] != id.TraceID().String() || line["span_id"] != id.SpanID().String() || line["a"] != 1. {
		t.Errorf("logged %v, want the ids of %v", line, id)
	}
	if line := logs.lines(t, "outside")[0]; line["trace_id"] != nil {
		t.Errorf("a line outside of any span has a trace id: %v", line)
	}
}

// logBackEnd takes log lines over OTLP.
type logBackEnd struct {
	mu      sync.Mutex
	service string
	records []*logspb.LogRecord
}

// serve starts it, and has what is set up afterwards send its log lines there.
func (b *logBackEnd) serve(t *testing.T) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		defer b.mu.Unlock()
		body, err := io.ReadAll(r.Body)
		var request collogspb.ExportLogsServiceRequest
		if err := errors.Join(err, proto.Unmarshal(body, &request)); err != nil {
			t.Error(err)
		}
		for _, resource := range request.ResourceLogs {
			b.service = text(resource.Resource.Attributes, "service.name")
			for _, scope := range resource.ScopeLogs {
				b.records = append(b.records, scope.LogRecords...)
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(server.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", server.URL+"/otlp/v1/logs")
	return server
}

func (b *logBackEnd) received() []*logspb.LogRecord {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.records
}

func TestLogLinesGoToTheirBackEnd(t *testing.T) {
	var backEnd logBackEnd
	backEnd.serve(t)
	record(t)
	stdout := &logBuffer{}
	shutdown, err := setUpTelemetry(t.Context(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(withTelemetry(slog.NewJSONHandler(stdout, nil))) // afterwards: OpenTelemetry's globals pass on once
	ctx, span := otel.Tracer(scopeName).Start(t.Context(), "request")
	log.InfoContext(ctx, "inside", slog.Group("headers", "bad", "a\xffb"))
	log.DebugContext(ctx, "below the level")
	span.End()
	shutdown()
	records := backEnd.received()
	if len(records) != 1 || records[0].Body.GetStringValue() != "inside" || backEnd.service != "the-service" {
		t.Fatalf("received %v of %s", records, backEnd.service)
	}
	id := span.SpanContext().TraceID()
	if !bytes.Equal(records[0].TraceId, id[:]) {
		t.Errorf("trace id %x, want %s", records[0].TraceId, id)
	}
	if headers := records[0].Attributes[0].Value.GetKvlistValue(); text(headers.GetValues(), "bad") != "a\uFFFDb" {
		t.Errorf("attributes are %v", records[0].Attributes)
	}
	if lines := stdout.lines(t, "inside"); len(lines) != 1 || lines[0]["trace_id"] != id.String() {
		t.Errorf("standard output has %v", lines)
	}
}

func TestLogLinesWaitForTheirBackEnd(t *testing.T) {
	var backEnd logBackEnd
	server := backEnd.serve(t)
	server.Close()
	record(t)
	t.Setenv("OTEL_BLRP_SCHEDULE_DELAY", "10")
	said := &logBuffer{}
	shutdown, err := setUpTelemetry(t.Context(), slog.New(slog.NewJSONHandler(said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer shutdown()
	slog.New(withTelemetry(slog.NewJSONHandler(io.Discard, nil))).Info("waits")
	waitFor(t, "the log to say that it waits", func() bool { return len(said.lines(t, inVain)) == 1 })
	listener, err := net.Listen("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	again := &httptest.Server{Listener: listener, Config: &http.Server{Handler: server.Config.Handler}}
	again.Start()
	defer again.Close()
	waitFor(t, "the line", func() bool { return len(backEnd.received()) == 1 })
}
