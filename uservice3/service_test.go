package main

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

// startEnv starts the service so that it answers at once; nobody listens on its upstream's port,
// which is discard's.
var startEnv = map[string]string{"UPSTREAM": "http://127.0.0.1:9", "REDIS_MIN": "0s", "REDIS_MAX": "0s",
	"TRACE_LINK": "http://localhost:3000/{trace_id}"}

// newServiceFor returns a service without delays, with the given upstream.
func newServiceFor(upstream string, logs io.Writer) *service {
	return newService(config{serviceConfig: serviceConfig{upstream: upstream, redis: mock{name: "redis"}}},
		slog.New(slog.NewJSONHandler(logs, nil)))
}

// TestTheServiceAnswersFailsLogsAndStops looks at what only this service has; what it shares with
// uservice1 is tested there.
func TestTheServiceAnswersFailsLogsAndStops(t *testing.T) {
	answer := http.StatusOK
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(answer) }))
	defer upstream.Close()
	t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	b := &backend{}
	addr, _ := b.serve(t, "127.0.0.1:0")
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://"+addr)
	p := start(t, map[string]string{"UPSTREAM": upstream.URL})
	status, page := get(t, p.url)
	link := regexp.MustCompile(`<a href="http://localhost:3000/([0-9a-f]{32})">`).FindStringSubmatch(page)
	lines := p.logs.lines(t, "request")
	if status != http.StatusOK || link == nil || len(lines) != 1 || lines[0]["trace_id"] != link[1] {
		t.Fatalf("answered %d %s; logged %v", status, page, lines)
	}
	answer = http.StatusInternalServerError
	for target, want := range map[string]struct {
		status int
		page   string
	}{
		"/?fail=redis":    {500, "Redis did not answer."},
		"/?fail=database": {502, "behind this one failed"},
		"/?fail=disk":     {400, "fail and slow take redis or database."},
		"/nowhere":        {404, "only one page"},
	} {
		if status, page := get(t, p.url+target); status != want.status || !strings.Contains(page, want.page) {
			t.Errorf("%s: answered %d, want %d: %s", target, status, want.status, page)
		}
	}
	p.stop()
	if got := b.named("handle_incoming_call"); len(got) != 5 {
		t.Errorf("%d spans arrived before the stop", len(got))
	}
}
