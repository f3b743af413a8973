package ledger

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestHandler(t *testing.T) {
	l := New(DefaultMaxRecords)
	scenarios[0].add(l)
	for name, test := range map[string]struct {
		method, query string
		status        int
		want          string // part of the answer
	}{
		"the newest":               {query: "", status: 200, want: `"outcome":"whole"`},
		"by a trace":               {query: "trace=" + traceA, status: 200, want: `"action":"continued"`},
		"by a trace in upper case": {query: "trace=" + strings.ToUpper(traceA), status: 200, want: traceA},
		"HEAD":                     {method: http.MethodHead, query: "", status: 200},
		"an unknown trace":         {query: "trace=1", status: 200, want: `"requests":[]`},
		"an id that is none":       {query: "trace=xyz", status: 400, want: "not hexadecimal"},
		"an id that is too long":   {query: "trace=" + traceA + "0", status: 400, want: "too long"},
		"an empty id":              {query: "trace=", status: 400, want: "empty"},
		"an unknown parameter":     {query: "traceid=1", status: 400, want: "trace is the only parameter"},
		"two of a kind":            {query: "trace=1&trace=2", status: 400, want: "trace is the only parameter; give it once"},
		"a malformed query":        {query: "%zz", status: 400, want: "invalid URL escape"},
	} {
		t.Run(name, func(t *testing.T) {
			res := httptest.NewRecorder()
			req := httptest.NewRequest(cmp.Or(test.method, http.MethodGet), "/api/ledger", nil)
			req.URL.RawQuery = test.query
			l.Handler().ServeHTTP(res, req)
			if res.Code != test.status || !strings.Contains(res.Body.String(), test.want) {
				t.Errorf("answered %d %s", res.Code, res.Body)
			}
			var answer map[string]any
			if err := json.Unmarshal(res.Body.Bytes(), &answer); err != nil || res.Header().Get("Content-Type") != "application/json" {
				t.Errorf("no JSON: %v", err)
			}
			if _, failed := answer["error"]; failed != (test.status != 200) {
				t.Errorf("answered %s", res.Body)
			}
		})
	}
}

// FuzzAPI asks the HTTP API whatever may stand in a query.
func FuzzAPI(f *testing.F) {
	for _, query := range []string{
		"", "trace=" + traceA, "trace=1", "trace=" + strings.ToUpper(traceA), "trace=", "a=1&trace=1", "trace=1&trace=2", "a=<script>",
		"%zz", "a;b", "trace=%00", "trace=" + strings.Repeat("0", 1<<10),
	} {
		f.Add(query)
	}
	l := New(DefaultMaxRecords)
	log := "u | " + string(requestLine(1, jaegerHeader(traceA, span(2)), traceA, span(3))) + "\nu | " + string(answeredLine(2, 200, traceA, span(3)))
	if _, err := l.readLog(strings.NewReader(log)); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequest(http.MethodGet, "/api/ledger", nil)
		r.URL.RawQuery = query
		w := httptest.NewRecorder()
		l.Handler().ServeHTTP(w, r)
		if w.Code != http.StatusOK && w.Code != http.StatusBadRequest {
			t.Errorf("%q was answered with %d", query, w.Code)
		}
		if !json.Valid(w.Body.Bytes()) || w.Body.Len() > 8<<10 || strings.ContainsAny(w.Body.String(), "<>") ||
			w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%q was answered with %.200q", query, w.Body)
		}
	})
}

func TestTheAPITellsWhatServicesSayOfTheirTelemetry(t *testing.T) {
	l := New(10)
	const at, vain = `{"time":"2026-01-02T03:04:0`, `telemetry does not reach the back end; requests are answered all the same`
	for _, line := range []string{
		at + `1Z","msg":"listening","addr":"127.0.0.1:1"}`,
		at + `2Z","msg":"` + vain + `","what":"metrics","endpoint":"http://metrics"}`,
		at + `3Z","msg":"` + vain + `","what":"spans","endpoint":"http://127.0.0.1:1"}`,
	} {
		l.AddLine("uservice3", []byte(line))
	}
	want := map[string]Telemetry{"uservice3": {Started: time.Date(2026, 1, 2, 3, 4, 1, 0, time.UTC), Vain: "http://127.0.0.1:1"}}
	if got := l.telemetry(); !maps.Equal(got, want) {
		t.Errorf("it has %v, want %v", got, want)
	}
	l.AddLine("uservice3", []byte(at+`4Z","msg":"listening"}`))
	if own := l.telemetry()["uservice3"]; own.Vain != "" || own.Started.Second() != 4 {
		t.Errorf("after its start: %v", own)
	}
}
