package ledger

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHandler(t *testing.T) {
	l := New(DefaultMaxRecords)
	scenarios[0].add(l)
	for name, test := range map[string]struct {
		query  string
		status int
		want   string // part of the answer
	}{
		"the newest":               {"", 200, `"outcome":"whole"`},
		"by a trace":               {"?trace=" + traceA, 200, `"action":"continued"`},
		"by a trace in upper case": {"?trace=" + strings.ToUpper(traceA), 200, `"total":1`},
		"an unknown trace":         {"?trace=1", 200, `"requests":[]`},
		"an id that is none":       {"?trace=xyz", 400, "not hexadecimal"},
		"an empty id":              {"?trace=", 400, "empty"},
		"a malformed query":        {"?%zz", 200, `"outcome":"whole"`},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			l.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/ledger"+test.query, nil))
			var answer map[string]any
			err := json.Unmarshal(w.Body.Bytes(), &answer)
			if _, failed := answer["error"]; err != nil || w.Code != test.status || failed != (test.status != 200) ||
				!strings.Contains(w.Body.String(), test.want) || w.Header().Get("Content-Type") != "application/json" {
				t.Errorf("%v: answered %d %s", err, w.Code, w.Body)
			}
		})
	}
}

func TestWhatServicesSayOfTheirTelemetry(t *testing.T) {
	l := New(10)
	const at, vain = `{"time":"2026-01-02T03:04:0`, `telemetry does not reach the back end; requests are answered all the same`
	for _, line := range []string{
		at + `1Z","msg":"listening","addr":"127.0.0.1:1"}`,
		at + `2Z","msg":"` + vain + `","what":"metrics","endpoint":"http://metrics"}`,
		at + `3Z","msg":"` + vain + `","what":"spans","endpoint":"http://127.0.0.1:1"}`,
	} {
		l.AddLine("uservice3", []byte(line))
	}
	if own := l.services["uservice3"]; own.Vain != "http://127.0.0.1:1" || own.Started.Second() != 1 {
		t.Errorf("it has %v", own)
	}
	l.AddLine("uservice3", []byte(at+`4Z","msg":"telemetry reaches the back end again","what":"spans","given_up":0}`))
	if own := l.services["uservice3"]; own.Vain != "" || own.Back.Second() != 4 || own.Started.Second() != 1 {
		t.Errorf("after the outage: %v", own)
	}
	l.AddLine("uservice3", []byte(at+`5Z","msg":"listening"}`))
	if own := l.services["uservice3"]; own.Vain != "" || own.Started.Second() != 5 {
		t.Errorf("after its start: %v", own)
	}
}
