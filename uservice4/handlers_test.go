package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// startEnv starts the service so that it answers at once.
var startEnv = map[string]string{"DATABASE_MIN": "0s", "DATABASE_MAX": "0s"}

// slowEnv keeps a request in flight for a while.
var slowEnv = map[string]string{"DATABASE_MIN": "100ms", "DATABASE_MAX": "100ms"}

// newTestService returns a service without delays.
func newTestService(t *testing.T, logs io.Writer) *service {
	t.Helper()
	return newService(config{serviceConfig: serviceConfig{database: mock{name: "database"}}},
		slog.New(slog.NewJSONHandler(logs, nil)))
}

func TestAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		method, target string
		want           int
		page           string // part of the page
	}{
		"all is well":            {target: "/", want: 200, page: "Hello, world!"},
		"Redis is not ours":      {target: "/?fail=redis", want: 200, page: "Hello, world!"},
		"the database fails":     {target: "/?fail=database", want: 500, page: "The database did not answer"},
		"an unknown wish":        {target: "/?fail=<b>", want: 400, page: "fail and slow take"},
		"a malformed query":      {target: "/?fail=%zz", want: 400, page: "fail and slow take"},
		"another path":           {target: "/nowhere", want: 404, page: "only one page"},
		"another method":         {method: http.MethodPost, target: "/", want: 405, page: "only be read"},
		"HEAD is as good as GET": {method: http.MethodHead, target: "/", want: 200},
	} {
		t.Run(name, func(t *testing.T) {
			method := test.method
			if method == "" {
				method = http.MethodGet
			}
			logs := &logBuffer{}
			res := httptest.NewRecorder()
			newTestService(t, logs).handler().ServeHTTP(res, httptest.NewRequest(method, test.target, nil))
			if res.Code != test.want {
				t.Errorf("answered %d, want %d", res.Code, test.want)
			}
			page := res.Body.String()
			if !strings.Contains(page, test.page) || !strings.HasPrefix(page, "<!doctype html>") || strings.Contains(page, "<b>") {
				t.Errorf("page: %s", page)
			}
			if failures := logs.lines(t, "request failed"); (len(failures) == 1) != (test.want != 200) {
				t.Errorf("logged %v", failures)
			}
		})
	}
}

func TestACallerWhoHangsUpEndsTheWork(t *testing.T) {
	p := start(t, map[string]string{"DATABASE_MIN": "10s", "DATABASE_MAX": "10s"})
	ctx, hangUp := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	hungUp := make(chan error)
	go func() {
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			res.Body.Close()
		}
		hungUp <- err
	}()
	waitFor(t, "the request to arrive", func() bool { return len(p.logs.lines(t, "request")) == 1 })
	hangUp()
	if err := <-hungUp; err == nil {
		t.Fatal("answered")
	}
	waitFor(t, "the log line", func() bool {
		lines := p.logs.lines(t, "request failed")
		return len(lines) == 1 && lines[0]["status"] == float64(statusClientClosedRequest)
	})
}

func TestServiceSettings(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		want string // part of the error
	}{
		"bounds the wrong way round":    {args: []string{"-database-min", "2ms", "-database-max", "1ms"}, want: "-database-min 2ms"},
		"a negative bound":              {args: []string{"-database-min", "-1ms"}, want: "-database-min -1ms"},
		"a bound beyond what is waited": {args: []string{"-database-max", "1m"}, want: "-database-max 1m"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseConfig(test.args, func(string) string { return "" }, io.Discard)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q in it", err, test.want)
			}
		})
	}
}
