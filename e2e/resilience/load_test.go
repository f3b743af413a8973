package resilience

import (
	"bufio"
	"context"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"example.com/grafana-tempo-go-demo/e2e/internal/testbed"
)

// metric reads one of a service's metrics, of the series that has the label; ok is false when there is none.
func (s *testStack) metric(t *testing.T, service, name, label string) (value float64, ok bool) {
	t.Helper()
	res, err := http.Get(s.urls.Metrics[service])
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		series, number, _ := strings.Cut(strings.Replace(lines.Text(), "} ", "}\x00", 1), "\x00")
		if number == "" {
			series, number, _ = strings.Cut(series, " ")
		}
		if series == name || strings.HasPrefix(series, name+"{") && strings.Contains(series, label) {
			value, err = strconv.ParseFloat(number, 64)
			return value, err == nil
		}
	}
	return 0, false
}

// checkResources checks that a service takes no more than that much memory, in bytes, and soon has
// no more than that many goroutines.
func (s *testStack) checkResources(t *testing.T, service string, memory, goroutines float64) {
	t.Helper()
	if got, ok := s.metric(t, service, "process_resident_memory_bytes", ""); ok && got > memory { // the metric exists on Linux only
		t.Errorf("%s takes %.0f MB of memory", service, got/1e6)
	} else {
		t.Logf("%s takes %.0f MB of memory", service, got/1e6)
	}
	got := 0.0
	if !testbed.Poll(t, func(context.Context) bool {
		got, _ = s.metric(t, service, "go_goroutines", "")
		return got > 0 && got <= goroutines
	}) {
		t.Errorf("%s has %.0f goroutines", service, got)
	}
}

// checkNoneDropped checks that no service has dropped a span because its queue was full.
func (s *testStack) checkNoneDropped(t *testing.T) {
	t.Helper()
	for _, service := range []string{"uservice3", "uservice4"} {
		if n, ok := s.metric(t, service, "otel_sdk_processor_span_processed_total", `error_type="queue_full"`); ok {
			t.Errorf("%s has dropped %.0f spans", service, n)
		}
	}
}
