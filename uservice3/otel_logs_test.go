package main

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	collogspb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
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

func TestLogLinesGoToTheirBackEnd(t *testing.T) {
	requests := make(chan *collogspb.ExportLogsServiceRequest, 1)
	backEnd := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		request := &collogspb.ExportLogsServiceRequest{}
		if err := errors.Join(err, proto.Unmarshal(body, request)); err != nil {
			t.Error(err)
		}
		requests <- request
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	defer backEnd.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", backEnd.URL+"/otlp/v1/logs")
	t.Setenv("OTEL_SERVICE_NAME", "a\xffb")
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
	sent := (<-requests).ResourceLogs[0]
	records := sent.ScopeLogs[0].LogRecords
	if service := text(sent.Resource.Attributes, "service.name"); service != "a\uFFFDb" || len(records) != 1 || records[0].Body.GetStringValue() != "inside" {
		t.Fatalf("received %v of %s", records, service)
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
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	listener.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://"+addr)
	t.Setenv("OTEL_BLRP_SCHEDULE_DELAY", "10")
	record(t)
	said := &logBuffer{}
	shutdown, err := setUpTelemetry(t.Context(), slog.New(slog.NewJSONHandler(said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer shutdown()
	slog.New(withTelemetry(slog.NewJSONHandler(io.Discard, nil))).Info("waits")
	waitFor(t, "the log to say that it waits", func() bool { return len(said.lines(t, inVain)) == 1 })
	if listener, err = net.Listen("tcp", addr); err != nil {
		t.Fatal(err)
	}
	requests := make(chan struct{}, 1)
	server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests <- struct{}{} })}
	go server.Serve(listener)
	defer server.Close()
	select {
	case <-requests:
	case <-time.After(20 * time.Second):
		t.Error("the line did not come")
	}
}
