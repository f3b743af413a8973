package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric/noop"
)

// TestTheLoopsMetrics reads them where Prometheus does: their names there are what dashboards and
// alerts are made of.
func TestTheLoopsMetrics(t *testing.T) {
	logs := &logBuffer{}
	t.Setenv("OTEL_METRICS_EXPORTER", "prometheus")
	t.Setenv("OTEL_EXPORTER_PROMETHEUS_HOST", "127.0.0.1")
	t.Setenv("OTEL_EXPORTER_PROMETHEUS_PORT", "0")
	shutdown, err := setUpTelemetry(t.Context(), slog.New(slog.NewJSONHandler(logs, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer shutdown()
	defer otel.SetMeterProvider(noop.NewMeterProvider())
	spans := record(t)
	addr, _ := logs.lines(t, "serving metrics")[0]["addr"].(string)
	has := func(wants ...string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		// What names the code that made a metric is the same in each line.
		page := regexp.MustCompile(`otel_scope_[a-z_]*="[^"]*",?`).ReplaceAllString(string(body), "")
		for _, want := range wants {
			if !regexp.MustCompile(`(?m)^` + want).MatchString(page) {
				t.Errorf("%s is missing in\n%s", want, page)
			}
		}
	}
	c := newTestController(t, testConfig, func(_ context.Context, target string) error {
		if target == "b" {
			return &badAnswer{causeStatus, errors.New("on purpose")}
		}
		return nil
	}, io.Discard)
	c.queue.add(item{target: "a"})
	c.queue.add(item{target: "b"})
	has(
		`reconciliations_total\{target="a"\} 0\.0$`,
		`reconciliations_total\{error_type="timeout",target="a"\} 0\.0$`,
		`reconcile_queue_depth\{\} 2\.0$`)
	for range c.targets {
		next, _ := c.queue.next(t.Context())
		c.reconcile(t.Context(), next)
	}
	ids := map[string]string{}
	for _, span := range spans.GetSpans() {
		ids[span.Attributes[0].Value.AsString()] = span.SpanContext.TraceID().String()
	}
	has(
		`reconciliations_total\{target="a"\} 1\.0`,
		`reconciliations_total\{target="b"\} 0\.0`,
		`reconciliations_total\{error_type="status",target="b"\} 1\.0`,
		`reconcile_duration_seconds_bucket\{target="a",le="0\.05"\} 1 # \{[^}]*trace_id="`+ids["a"]+`"`,
		`reconcile_duration_seconds_bucket\{target="b",le="0\.05"\} 1 # \{[^}]*trace_id="`+ids["b"]+`"`,
		`reconcile_queue_depth\{\} 0\.0$`)
}
