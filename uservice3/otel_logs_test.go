package main

import (
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel"
	collogspb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// logStore is a back end of log lines that passes on what it gets.
func logStore(t *testing.T) (http.HandlerFunc, chan *collogspb.ExportLogsServiceRequest) {
	requests := make(chan *collogspb.ExportLogsServiceRequest, 9)
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		request := &collogspb.ExportLogsServiceRequest{}
		if err := errors.Join(err, proto.Unmarshal(body, request)); err != nil {
			t.Error(err)
		}
		requests <- request
		w.Header().Set("Content-Type", "application/x-protobuf")
	}, requests
}

// TestLogLinesWaitForTheirBackEnd: none is lost while it is away, and while something else answers in
// its place. Both are logged once.
func TestLogLinesWaitForTheirBackEnd(t *testing.T) {
	store, requests := logStore(t)
	serve := func(addr string, handler http.Handler) (string, func() error) {
		listener, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: handler}
		go server.Serve(listener)
		return listener.Addr().String(), server.Close
	}
	addr, stop := serve("127.0.0.1:0", nil)
	stop()
	t.Setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://"+addr)
	t.Setenv("OTEL_BLRP_SCHEDULE_DELAY", "10")
	t.Setenv("OTEL_BLRP_EXPORT_TIMEOUT", "90000")
	logs := &logBuffer{}
	shutdown, err := setUpTelemetry(t.Context(), slog.New(slog.NewJSONHandler(logs, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer shutdown()
	log := slog.New(withTelemetry(slog.NewTextHandler(t.Output(), nil)))
	log.Info("to nobody")
	waitFor(t, "the log line", func() bool { return strings.Contains(logs.String(), "refused") })
	starting, switched := true, make(chan bool, 1)
	_, stop = serve(addr, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if starting { // a Loki whose parts have not found each other yet
			starting = false
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
		io.Copy(io.Discard, conn) // until the other side gives up
		conn.Close()
		switched <- true
	}))
	<-switched
	stop()
	_, stop = serve(addr, store)
	defer stop()
	log.Info("to the store")
	for _, want := range []string{"to nobody", "to the store"} {
		if got := protojson.Format(<-requests); !strings.Contains(got, want) {
			t.Errorf("%q is missing in %s", want, got)
		}
	}
	waitFor(t, "the log line", func() bool { return strings.Contains(logs.String(), "telemetry reaches the back end again") })
	if lines := strings.Count(logs.String(), "\n"); lines != 2 {
		t.Errorf("logged %s", logs)
	}
}

func TestLogLinesGoToTheirBackEnd(t *testing.T) {
	store, requests := logStore(t)
	backEnd := httptest.NewServer(store)
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
