package main

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

func TestMetrics(t *testing.T) {
	logs := &logBuffer{}
	t.Setenv("OTEL_METRICS_EXPORTER", "prometheus")
	t.Setenv("OTEL_EXPORTER_PROMETHEUS_HOST", "127.0.0.1")
	t.Setenv("OTEL_EXPORTER_PROMETHEUS_PORT", "0")
	t.Setenv("OTEL_GO_X_OBSERVABILITY", "true")
	shutdown, err := setUpTelemetry(t.Context(), slog.New(slog.NewJSONHandler(logs, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer shutdown()
	otel.SetTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithBatcher(tracetest.NewNoopExporter())))
	var traces []string
	handler := otelhttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		traces = append(traces, trace.SpanContextFromContext(r.Context()).TraceID().String())
		http.NotFound(w, r)
	}), "request", spanName("request")...)
	for i := range 9 { // with names and ports of a stranger's choice
		req := httptest.NewRequest(http.MethodGet, fmt.Sprintf("http://whoever%d.example.com:800%[1]d/nowhere", i), nil)
		handler.ServeHTTP(httptest.NewRecorder(), req)
	}
	addr, _ := logs.lines(t, "serving metrics")[0]["addr"].(string)

	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/metrics", nil)
	req.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	page := string(body)
	for name, want := range map[string]string{
		"the duration of requests, in our buckets": `http_server_request_duration_seconds_bucket{http_request_method="GET",http_response_status_code="404",network_protocol_name="http",network_protocol_version="1.1",`,
		"a bucket of its own for slow ones":        `le="1.75"`,
		"the Go runtime":                           "go_goroutines",
		"the process":                              "process_resident_memory_bytes",
		"the SDK's own health":                     "otel_sdk_processor_span_queue_capacity",
		"who this is":                              `target_info{`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no %s: %s is missing in\n%s", name, want, page)
		}
	}
	if !slices.ContainsFunc(traces, func(id string) bool { return strings.Contains(page, `trace_id="`+id+`"`) }) {
		t.Errorf("no exemplar of %v in\n%s", traces, page)
	}
	if series := strings.Count(page, "\nhttp_server_request_duration_seconds_count{"); series != 1 {
		t.Errorf("%d series of requests, want 1", series)
	}
	for _, unwanted := range []string{"whoever", "server_port", "body_size"} {
		if strings.Contains(page, unwanted) {
			t.Errorf("%s is in\n%s", unwanted, page)
		}
	}

	_, port, _ := net.SplitHostPort(addr)
	t.Setenv("OTEL_EXPORTER_PROMETHEUS_PORT", port)
	if _, err := setUpTelemetry(t.Context(), slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), addr) {
		t.Errorf("a taken port: %v", err)
	}
}
