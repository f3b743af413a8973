package resilience

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"syscall"
	"testing"

	"example.com/grafana-tempo-go-demo/e2e/internal/testbed"
)

// A stop under load: accepted requests are answered, later clients find the port closed, and the
// spans of all answered requests arrive.
func TestStopUnderLoadLosesNothing(t *testing.T) {
	const people = 50
	b := newBackend(t)
	s := startStack(t, map[string]string{
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://" + b.addr, "DATABASE_MIN": "500ms", "DATABASE_MAX": "1s",
	})
	client := newClient(t)
	ids := make([]string, people)
	var all sync.WaitGroup
	for i := range ids {
		all.Go(func() {
			a, err := s.visit(t.Context(), client, "uservice3", "")
			if err != nil || a.status != http.StatusOK {
				t.Errorf("answered %d, %v", a.status, err)
			}
			ids[i] = a.trace
		})
	}
	if !testbed.Poll(t, func(context.Context) bool { return len(s.loggedLines("uservice4", `"msg":"request"`)) == people }) {
		t.Fatal("no load")
	}
	if err := s.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	all.Wait()
	if _, err := s.visit(t.Context(), client, "uservice3", ""); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("after the stop: %v", err)
	}
	b.waitForSpans(t, 5, ids...)
	for _, service := range []string{"uservice3", "uservice4"} {
		if lines := s.loggedLines(service, `"level":"ERROR"`); len(lines) > 0 {
			t.Errorf("%s: %s", service, lines[0])
		}
	}
}
