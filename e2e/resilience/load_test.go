package resilience

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"example.com/grafana-tempo-go-demo/e2e/internal/testbed"
)

// metric reads one of a service's metrics; ok is false when there is none with these labels.
func (s *testStack) metric(t *testing.T, service, name string, labels map[string]string) (value float64, ok bool) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.urls.Metrics[service], nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(res.Body)
	if err != nil {
		t.Fatal(err)
	}
next:
	for _, m := range families[name].GetMetric() {
		has := map[string]string{}
		for _, label := range m.GetLabel() {
			has[label.GetName()] = label.GetValue()
		}
		for label, value := range labels {
			if has[label] != value {
				continue next
			}
		}
		return m.GetGauge().GetValue() + m.GetCounter().GetValue(), true
	}
	return 0, false
}

// checkResources checks that a service takes no more than that much memory, in bytes, and soon has
// no more than that many goroutines.
func (s *testStack) checkResources(t *testing.T, service string, memory, goroutines float64) {
	t.Helper()
	if got, ok := s.metric(t, service, "process_resident_memory_bytes", nil); ok && got > memory { // the metric exists on Linux only
		t.Errorf("%s takes %.0f MB of memory", service, got/1e6)
	} else {
		t.Logf("%s takes %.0f MB of memory", service, got/1e6)
	}
	got := 0.0
	if !testbed.Poll(t, func(context.Context) bool {
		got, _ = s.metric(t, service, "go_goroutine_count", nil)
		return got > 0 && got <= goroutines
	}) {
		t.Errorf("%s has %.0f goroutines", service, got)
	}
}

// checkNoneDropped checks that no service has dropped a span because its queue was full.
func (s *testStack) checkNoneDropped(t *testing.T) {
	t.Helper()
	for _, service := range []string{"uservice3", "uservice4"} {
		if n, ok := s.metric(t, service, "otel_sdk_processor_span_processed_total", map[string]string{"error_type": "queue_full"}); ok {
			t.Errorf("%s has dropped %.0f spans", service, n)
		}
	}
}

// askTogether sends that many requests to uservice3 at the same time, all of which must be
// answered, and returns how long they took, sorted.
func askTogether(t *testing.T, client *http.Client, people int, url string) (waited []time.Duration) {
	t.Helper()
	var mu sync.Mutex
	got := statuses{}
	var all sync.WaitGroup
	for range people {
		all.Go(func() {
			a, err := ask(t.Context(), client, url, "uservice3")
			mu.Lock()
			defer mu.Unlock()
			got.add(a, err)
			waited = append(waited, a.took)
		})
	}
	all.Wait()
	if got["200"] != people {
		t.Fatalf("answers: %v", got)
	}
	slices.Sort(waited)
	return waited
}

func TestAClassOfThreeHundred(t *testing.T) {
	const people, rounds = 300, 4
	s := startStack(t, map[string]string{"REDIS_MAX": "20ms", "DATABASE_MIN": "50ms", "DATABASE_MAX": "100ms"})
	client := newClient(t)
	for range rounds {
		askTogether(t, client, people, s.urls.Gateway)
	}
	for _, service := range []string{"uservice3", "uservice4"} {
		if n := len(s.loggedLines(service, `"msg":"request"`)); n != people*rounds {
			t.Errorf("%s got %d requests", service, n)
		}
		// A new connection for each request would make it people*rounds.
		if n := s.connections(t, service); n > people*3/2 {
			t.Errorf("%s was asked over %d connections", service, n)
		} else {
			t.Logf("%s was asked %d times over %d connections", service, people*rounds, n)
		}
	}
	s.checkNoneDropped(t)
	client.CloseIdleConnections()
	// A connection that is kept open costs each side at most two goroutines.
	s.checkResources(t, "uservice3", 300<<20, 4*people+100)
	s.checkResources(t, "uservice4", 300<<20, 2*people+100)
}
