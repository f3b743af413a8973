package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAPanicIsAnAnswerAndALogLine(t *testing.T) {
	logs := &logBuffer{}
	s := newServiceFor("", logs)
	res := httptest.NewRecorder()
	func() {
		defer s.recoverPanic(t.Context(), res)
		panic("on purpose")
	}()
	if res.Code != http.StatusInternalServerError || strings.Contains(res.Body.String(), "on purpose") {
		t.Errorf("answered %d %s", res.Code, res.Body)
	}
	if lines := logs.lines(t, "request failed"); len(lines) != 1 || lines[0]["error"] != "panic: on purpose" {
		t.Errorf("logged %v", lines)
	}
	if lines := logs.lines(t, "panic"); len(lines) != 1 || !strings.Contains(lines[0]["stack"].(string), "web_test.go") {
		t.Errorf("logged %v", lines)
	}
}

func TestABrowserMayDoNothingWithAPageButShowIt(t *testing.T) {
	for _, target := range []string{"/", "/nowhere", "/?fail=%3Cscript%3E", "/?fail=redis", "/?fail=database"} {
		res, _ := call(http.MethodGet, target, "http://127.0.0.1:9")
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
	req := httptest.NewRequest(http.MethodGet, "http://example.com/nowhere?x=1", nil)
	req.Header.Add("Uber-Trace-Id", "1:2:0:1")
	req.Header.Add("X-Two", "a")
	req.Header.Add("X-Two", "b")
	req.Header.Add("Authorization", "Bearer secret")
	newServiceFor("", logs).handler().ServeHTTP(httptest.NewRecorder(), req)
	for _, want := range []string{
		`"msg":"request","method":"GET","host":"example.com","path":"/nowhere","query":"x=1"`,
		`"authorization":"[redacted]"`, `"uber-trace-id":"1:2:0:1"`, `"x-two":"a, b"`,
	} {
		if !strings.Contains(logs.String(), want) {
			t.Errorf("logged %s, want %s in it", logs, want)
		}
	}
}
