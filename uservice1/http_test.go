package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestMockCallsTakeTheirTime(t *testing.T) {
	m := mock{name: "redis", min: 100 * time.Millisecond, max: 199 * time.Millisecond}
	for name, test := range map[string]struct {
		query    string
		min, max time.Duration
		fails    bool
	}{
		"within the bounds":                    {min: m.min, max: m.max},
		"two seconds more when asked for":      {query: "slow=redis", min: m.min + slowness, max: m.max + slowness},
		"another dependency's wish is ignored": {query: "slow=database&fail=database", min: m.min, max: m.max},
		"a failure takes its time too":         {query: "fail=redis", min: m.min, max: m.max, fails: true},
		"slow and then failed":                 {query: "fail=redis&slow=redis", min: m.min + slowness, max: m.max + slowness, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				wish, err := decodeWishes(test.query)
				if err != nil {
					t.Fatal(err)
				}
				for range 100 {
					before := time.Now()
					if err := m.call(t.Context(), wish); (err != nil) != test.fails {
						t.Errorf("error: %v", err)
					}
					if took := time.Since(before); took < test.min || took > test.max {
						t.Errorf("took %s, want %s to %s", took, test.min, test.max)
					}
				}
			})
		})
	}
}

func TestAMockCallStopsWithItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		before := time.Now()
		err := mock{name: "redis", min: time.Hour, max: time.Hour}.call(ctx, wishes{})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(before) != time.Millisecond {
			t.Errorf("%v after %s", err, time.Since(before))
		}
	})
}

func TestWishesThatNobodyCanFulfilAreErrors(t *testing.T) {
	for _, query := range []string{"fail=disk", "slow=disk", "fail=", "fail=redis&fail=disk", "fail=Redis", "fail=%zz", "a=b;c=d"} {
		if _, err := decodeWishes(query); err == nil {
			t.Errorf("%q is taken for a wish", query)
		}
	}
	for _, query := range []string{"", "fail=redis", "fail=redis&fail=database", "slow=database&other=1"} {
		if _, err := decodeWishes(query); err != nil {
			t.Errorf("%q: %v", query, err)
		}
	}
}

func TestAPanicIsAnAnswerAndALogLine(t *testing.T) {
	logs := &logBuffer{}
	s := newTestService(t, logs)
	panicking := s.recoverPanics(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("on purpose") }))
	res := httptest.NewRecorder()
	panicking.ServeHTTP(res, httptest.NewRequest(http.MethodGet, "/", nil))
	if res.Code != http.StatusInternalServerError || strings.Contains(res.Body.String(), "on purpose") {
		t.Errorf("answered %d %s", res.Code, res.Body)
	}
	if lines := logs.lines(t, "request failed"); len(lines) != 1 || lines[0]["error"] != "panic: on purpose" {
		t.Errorf("logged %v", lines)
	}
	if lines := logs.lines(t, "panic"); len(lines) != 1 || !strings.Contains(lines[0]["stack"].(string), "http_test.go") {
		t.Errorf("logged %v", lines)
	}
}

func TestABrowserMayDoNothingWithAPageButShowIt(t *testing.T) {
	for _, target := range []string{"/", "/nowhere", "/?fail=%3Cscript%3E", "/?fail=redis", "/?fail=database"} {
		res := httptest.NewRecorder()
		newTestService(t, &logBuffer{}).handler().ServeHTTP(res, httptest.NewRequest(http.MethodGet, target, nil))
		for name, want := range map[string]string{
			"Content-Type": "text/html; charset=utf-8", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
			"Content-Security-Policy": pagePolicy, "Access-Control-Allow-Origin": "",
		} {
			if got := res.Header().Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", target, name, got, want)
			}
		}
		if page := res.Body.String(); strings.Contains(page, "<script") || strings.Contains(page, " style=") {
			t.Errorf("%s: the page has what its policy refuses: %s", target, page)
		}
	}
}

func TestRequestsAreLoggedWithTheirHeaders(t *testing.T) {
	logs := &logBuffer{}
	s := newTestService(t, logs)
	req := httptest.NewRequest(http.MethodGet, "http://example.com/nowhere?x=1", nil)
	req.Header.Add("Uber-Trace-Id", "1:2:0:1")
	req.Header.Add("X-Two", "a")
	req.Header.Add("X-Two", "b")
	req.Header.Add("Authorization", "Bearer secret")
	s.handler().ServeHTTP(httptest.NewRecorder(), req)
	lines := logs.lines(t, "request")
	if len(lines) != 1 {
		t.Fatalf("logged %d requests", len(lines))
	}
	for name, want := range map[string]string{"method": "GET", "host": "example.com", "path": "/nowhere", "query": "x=1"} {
		if lines[0][name] != want {
			t.Errorf("%s is %v, want %s", name, lines[0][name], want)
		}
	}
	headers := lines[0]["headers"].(map[string]any)
	for name, want := range map[string]string{"uber-trace-id": "1:2:0:1", "x-two": "a, b", "authorization": "[redacted]"} {
		if headers[name] != want {
			t.Errorf("header %s is %v, want %s", name, headers[name], want)
		}
	}
}
