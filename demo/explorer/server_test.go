package explorer

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"example.com/grafana-tempo-go-demo/demo/lab"
)

// fake is a server that remembers what it was asked.
type fake struct {
	*httptest.Server
	asked chan *http.Request
}

func newFake(t *testing.T, h http.HandlerFunc) *fake {
	t.Helper()
	f := &fake{asked: make(chan *http.Request, 100)}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.asked <- r
		h(w, r)
	}))
	t.Cleanup(f.Close)
	return f
}

func parse(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// nowhere is a URL at which nobody listens: discard's port.
const nowhere = "http://127.0.0.1:9"

// ask sends one request to an explorer as a page of its own would.
func ask(t *testing.T, h http.Handler, method, target, body string, header http.Header) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	r.Host = "localhost:3000"
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	for name, values := range header {
		r.Header[name] = values
	}
	if host := header.Get("Host"); host != "" {
		r.Host = host
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// sentence reads the error of an answer; there must be one.
func sentence(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	var answer struct{ Error string }
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || !strings.HasSuffix(answer.Error, ".") && !strings.HasSuffix(answer.Error, "?") {
		t.Errorf("the error is no sentence: %s", w.Body)
	}
	return answer.Error
}

func TestAddresses(t *testing.T) {
	h := New(Options{Tempo: parse(t, nowhere), Gateway: parse(t, nowhere)})
	for name, test := range map[string]struct {
		method, path string
		status       int
		mediaType    string
	}{
		"the page":                      {"GET", "/", 200, "text/html; charset=utf-8"},
		"a trace":                       {"GET", "/trace/0123456789abcdef0123456789ABCDEF", 200, "text/html; charset=utf-8"},
		"a trace without leading zeros": {"GET", "/trace/1f", 200, "text/html; charset=utf-8"},
		"what is no trace id":           {"GET", "/trace/xyz", 404, "text/html; charset=utf-8"},
		"an id that is too long":        {"GET", "/trace/" + strings.Repeat("1", 33), 404, "text/html; charset=utf-8"},
		"a module":                      {"GET", "/assets/app.js", 200, "text/javascript; charset=utf-8"},
		"the style sheet":               {"GET", "/assets/style.css", 200, "text/css; charset=utf-8"},
		"no such asset":                 {"GET", "/assets/nothing.js", 404, "application/json"},
		"a way out of the assets":       {"GET", "/assets/..%2fserver.go", 404, "application/json"},
		"nothing":                       {"GET", "/nowhere", 404, "application/json"},
		"a ledger that nobody keeps":    {"GET", "/api/ledger?trace=1", 404, "application/json"},
		"faults that nobody can make":   {"GET", "/api/faults", 404, "application/json"},
	} {
		t.Run(name, func(t *testing.T) {
			w := ask(t, h, test.method, test.path, "", nil)
			if w.Code != test.status || w.Header().Get("Content-Type") != test.mediaType {
				t.Errorf("answered %d %s, want %d %s", w.Code, w.Header().Get("Content-Type"), test.status, test.mediaType)
			}
			if test.mediaType == "application/json" {
				sentence(t, w)
			}
			for header, want := range map[string]string{
				"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin",
			} {
				if w.Header().Get(header) != want {
					t.Errorf("%s is %q, want %q", header, w.Header().Get(header), want)
				}
			}
			policy := w.Header().Get("Content-Security-Policy")
			if !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "frame-ancestors 'none'") || strings.Contains(policy, "unsafe") {
				t.Errorf("policy %q", policy)
			}
		})
	}
}

func TestOnlyThePageCanWrite(t *testing.T) {
	gateway := newFake(t, func(http.ResponseWriter, *http.Request) {})
	h := New(Options{Tempo: parse(t, nowhere), Gateway: parse(t, gateway.URL)})
	const call = `{"service":"uservice1"}`
	for name, test := range map[string]struct {
		header http.Header
		body   string
		want   int
	}{
		"the page itself":           {nil, call, 200},
		"another site":              {http.Header{"Sec-Fetch-Site": {"cross-site"}}, call, 403},
		"by another machine's name": {http.Header{"Host": {"evil.example"}}, call, 421},
		"a form":                    {http.Header{"Content-Type": {"text/plain"}}, call, 415},
		"no type":                   {http.Header{"Content-Type": nil}, call, 415},
		"a long body":               {nil, `{"service":"` + strings.Repeat("x", maxRequestBytes) + `"}`, 413},
		"no JSON":                   {nil, `service=uservice1`, 400},
		"a field that there is not": {nil, `{"service":"uservice1","path":"/admin"}`, 400},
	} {
		t.Run(name, func(t *testing.T) {
			w := ask(t, h, "POST", "/api/call", test.body, test.header)
			if w.Code != test.want {
				t.Errorf("answered %d, want %d: %s", w.Code, test.want, w.Body)
			}
			if w.Code != 200 && test.header.Get("Sec-Fetch-Site")+test.header.Get("Host") == "" { // that is package local's
				sentence(t, w)
			}
		})
	}
}

// cannotMend stands in for a stack.
func cannotMend(f lab.Fault, _ bool) error {
	if f.Name == "" {
		return errors.New("uservice4 did not start again")
	}
	return nil
}

func TestFaultsAndRiddle(t *testing.T) {
	gateway := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		end := map[string]string{"uservice3": "1f", "uservice4": "2f"}[strings.Split(r.Host, ".")[0]]
		w.Header().Set("traceresponse", "00-000000000000000000000000000000"+end+"-0000000000000002-01")
	})
	h := New(Options{Tempo: parse(t, nowhere), Gateway: parse(t, gateway.URL), Faults: lab.New(cannotMend, 7)}) // which begins with dead-exporter
	for _, test := range []struct {
		path, body string
		status     int
		has        string
	}{
		{"/api/faults", `{"name":"fire"}`, 400, "no such fault"},
		{"/api/faults", `{"do":"hint"}`, 409, "nothing to find"},
		{"/api/faults", `{"do":"begin"}`, 200, `"answer":null`},
		{"/api/faults", `{"do":"begin"}`, 409, "broken already"},
		{"/api/call", `{"service":"uservice3"}`, 200, `1f`},
		{"/api/call", `{"service":"uservice4"}`, 200, `2f`}, // does not pass every place of a fault
		{"/api/faults", `{"do":"hint"}`, 200, `"hints":["The trace has a hole: 4 spans of 7."],"more_hints":2,"wrong":[],"trace":"0000000000000000000000000000001f"`},
		{"/api/faults", `{"do":"dance"}`, 400, "do takes"},
		{"/api/faults", `{"do":"guess","name":"fire"}`, 400, "no such fault"},
		{"/api/faults", `{"do":"guess","name":"drop-header"}`, 200, `"answer":null`},
		{"/api/faults", `{"do":"guess","name":"dead-exporter"}`, 200, `"answer":{"name":"dead-exporter"`},
		{"/api/faults", `{"do":"give-up"}`, 409, "nothing to find"},
		{"/api/faults", `{"name":"drop-header"}`, 200, `"active":"drop-header"`},
		{"/api/faults", `{"name":""}`, 500, "did not start again"},
	} {
		if w := ask(t, h, "POST", test.path, test.body, nil); w.Code != test.status || !strings.Contains(w.Body.String(), test.has) {
			t.Errorf("%s: answered %d %s", test.body, w.Code, w.Body)
		}
	}
	if w := ask(t, h, "GET", "/api/faults/all", "", nil); w.Code != 200 || strings.Count(w.Body.String(), `"diagnosis"`) != len(lab.Faults()) {
		t.Errorf("all faults: %d %s", w.Code, w.Body)
	}
}
