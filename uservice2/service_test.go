package main

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"
)

// startEnv starts the service so that it answers at once.
var startEnv = map[string]string{"DATABASE_MIN": "0s", "DATABASE_MAX": "0s"}

// TestTheServiceAnswersFailsLogsAndStops looks at what only this service has; what it shares with
// the others is tested in uservice1.
func TestTheServiceAnswersFailsLogsAndStops(t *testing.T) {
	p := start(t, nil)
	for target, want := range map[string]struct {
		status int
		page   string // part of it
	}{
		"/":               {200, "Hello, world!"},
		"/?fail=redis":    {200, "Hello, world!"}, // Redis is another's
		"/?fail=database": {500, "The database did not answer."},
		"/?fail=disk":     {400, "fail and slow take redis or database."},
		"/nowhere":        {404, "only one page"},
	} {
		if status, page := get(t, p.url+target); status != want.status || !strings.Contains(page, want.page) {
			t.Errorf("%s: answered %d, want %d: %s", target, status, want.status, page)
		}
	}
	if lines := p.logs.lines(t, "request"); len(lines) != 5 || lines[0]["headers"].(map[string]any)["user-agent"] == nil {
		t.Errorf("logged requests %v", lines)
	}
	if lines := p.logs.lines(t, "request failed"); len(lines) != 3 {
		t.Errorf("logged failures %v", lines)
	}
	p.stop()
	if res, err := http.Get(p.url); err == nil {
		res.Body.Close()
		t.Error("a stopped service still answers")
	}
}

func TestACallerWhoHangsUpEndsTheQuery(t *testing.T) {
	p := start(t, map[string]string{"DATABASE_MIN": "10s", "DATABASE_MAX": "10s"})
	ctx, hangUp := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for len(p.logs.lines(t, "request")) == 0 {
			time.Sleep(time.Millisecond)
		}
		hangUp()
	}()
	if res, err := http.DefaultClient.Do(req); err == nil {
		res.Body.Close()
		t.Fatal("answered")
	}
	waitFor(t, "the log line", func() bool {
		lines := p.logs.lines(t, "request failed")
		return len(lines) == 1 && lines[0]["status"] == float64(statusClientClosedRequest)
	})
}

func TestBoundsThatCannotWorkAreErrors(t *testing.T) {
	for _, bounds := range [][2]string{{"2ms", "1ms"}, {"-1ms", "1ms"}, {"0s", "1m"}} {
		_, err := parseConfig([]string{"-database-min", bounds[0], "-database-max", bounds[1]}, getenv(nil), t.Output())
		if err == nil || !strings.Contains(err.Error(), "-database-min "+bounds[0]) {
			t.Errorf("%v: error %v", bounds, err)
		}
	}
}
