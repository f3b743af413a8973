package main

import (
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel"
	collogspb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

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
	// Afterwards: OpenTelemetry's globals pass on once.
	log := slog.New(withTelemetry(slog.NewJSONHandler(stdout, nil))).With("n", 1).WithGroup("headers")
	ctx, span := otel.Tracer(scopeName).Start(t.Context(), "request")
	log.InfoContext(ctx, "inside", "bad", "a\xffb")
	log.DebugContext(ctx, "below the level")
	slog.New(withTelemetry(slog.NewJSONHandler(stdout, nil))).Info("outside")
	span.End()
	shutdown()
	sent := (<-requests).ResourceLogs[0]
	records, id := sent.ScopeLogs[0].LogRecords, span.SpanContext()
	if service := text(sent.Resource.Attributes, "service.name"); service != "a\uFFFDb" || len(records) != 2 || records[0].Body.GetStringValue() != "inside" {
		t.Fatalf("received %v of %s", records, service)
	}
	if got := hex.EncodeToString(records[0].TraceId); got != id.TraceID().String() || len(records[1].TraceId) > 0 {
		t.Errorf("trace id %s, want %v; that of a line outside of any span is %x", got, id, records[1].TraceId)
	}
	if got := protojson.Format(records[0]); !strings.Contains(got, "a\uFFFDb") {
		t.Errorf("sent %s", got)
	}
	line := stdout.lines(t, "inside")[0]
	if headers := line["headers"].(map[string]any); line["n"] != 1. || headers["trace_id"] != id.TraceID().String() || headers["span_id"] != id.SpanID().String() {
		t.Errorf("standard output has %v", line)
	}
	if line := stdout.lines(t, "outside")[0]; line["trace_id"] != nil {
		t.Errorf("a line outside of any span has a trace id: %v", line)
	}
}

// TestWhatTheSDKSaysOfALineIsNotSentAsOne: it says this once, with a lock held.
func TestWhatTheSDKSaysOfALineIsNotSentAsOne(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://127.0.0.1:9/v1/logs")
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
	t.Setenv("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "0")
	t.Setenv("OTEL_TRACES_EXPORTER", "none")
	stdout := &logBuffer{}
	shutdown, err := setUpTelemetry(t.Context(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(withTelemetry(slog.NewJSONHandler(stdout, nil))) // afterwards, as above
	if err := checkSettings(log); err != nil {
		t.Fatal(err)
	}
	go log.Info("a line", "n", 1)
	waitFor(t, "the line", func() bool { return len(stdout.lines(t, "a line")) == 1 })
	if !strings.Contains(stdout.String(), "dropping log Record attributes") {
		t.Errorf("the SDK's words are missing: %s", stdout)
	}
	shutdown()
}
