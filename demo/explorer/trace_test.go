package explorer

import (
	"cmp"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"example.com/grafana-tempo-go-demo/demo/collector"
	"example.com/grafana-tempo-go-demo/demo/header"
	"example.com/grafana-tempo-go-demo/demo/lab"
	"example.com/grafana-tempo-go-demo/demo/ledger"
)

const (
	knownID = "00000000000000000000000000000abc"
	twinID  = "00000000000000000000000000000abd"
)

// fakeLedger knows requests by their trace.
type fakeLedger map[string][]ledger.Request

func (l fakeLedger) Answer(string) (ledger.Answer, error) { return ledger.Answer{}, nil }

func (l fakeLedger) Recent(int) (all []ledger.Request) {
	for _, requests := range l {
		all = append(all, requests...)
	}
	return all
}

func (l fakeLedger) Trace(id string, _ int) ([]ledger.Request, int, error) {
	return l[id], len(l[id]), nil
}

// serve returns an explorer of a collector that has a plain service's trace, and one of its twin with a log line.
func serve(t *testing.T, l Ledger, faults *lab.Lab) http.Handler { return serveLogs(t, l, faults, nil) }

// serveLogs has another log store than the collector.
func serveLogs(t *testing.T, l Ledger, faults *lab.Lab, loki *url.URL) http.Handler {
	t.Helper()
	store := collector.New(slog.New(slog.DiscardHandler))
	start := time.Now().Add(-30 * time.Second).UnixNano()
	group := func(service, trace, spans string) string {
		spans = strings.ReplaceAll(spans, "{", fmt.Sprintf(`{"traceId":%q,"startTimeUnixNano":"%d","endTimeUnixNano":"%d",`, trace, start, start+1556700000))
		return fmt.Sprintf(`{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":%q}}]},"scopeSpans":[{"spans":[%s]}]}`, service,
			strings.NewReplacer("«", "{", "»", "}").Replace(spans))
	}
	proxied := func(service, trace string) string {
		return group("gateway", trace, `{"spanId":"0000000000000001","name":"GET","kind":2,"attributes":[«"key":"server.address","value":«"stringValue":"`+
			service+`.localhost"»»,«"key":"user_agent.original","value":«"stringValue":"agent `+service+`"»»]},
			{"spanId":"0000000000000002","parentSpanId":"0000000000000001","name":"ReverseProxy","kind":3,"attributes":[«"key":"http.response.status_code","value":«"intValue":"200"»»]}`)
	}
	served := group("uservice3", twinID, `{"spanId":"0000000000000003","parentSpanId":"0000000000000002","name":"handle","kind":2}`)
	for path, body := range map[string]string{
		"/v1/traces": `{"resourceSpans":[` + proxied("uservice1", knownID) + "," + proxied("uservice3", twinID) + "," + served + `]}`,
		"/v1/logs":   fmt.Sprintf(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"traceId":%q,"spanId":"0000000000000003","timeUnixNano":"%d"}]}]}]}`, twinID, start+2e6),
	} {
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		if store.OTLPHandler().ServeHTTP(w, r); w.Code != http.StatusOK {
			t.Fatal(w.Body)
		}
	}
	api := httptest.NewServer(store.APIHandler())
	t.Cleanup(api.Close)
	return New(Options{Tempo: parse(t, api.URL), Loki: cmp.Or(loki, parse(t, api.URL)), Gateway: parse(t, nowhere), Ledger: l, Faults: faults})
}

func TestAnswersAboutTraces(t *testing.T) {
	off := false
	unsampled := []ledger.Request{{Agent: "agent unsampled", Hops: []ledger.Hop{{To: "gateway", TraceID: "11111111111111111111111111111111",
		Arrived: []header.Header{{TraceID: "11111111111111111111111111111111", Sampled: &off}}}}}}
	withLedger, without := serve(t, fakeLedger{unsampled[0].Hops[0].TraceID: unsampled}, nil), serve(t, nil, nil)
	hidden := lab.New(cannotMend, 7)
	hiding := serve(t, fakeLedger{knownID: {{Outcome: ledger.Cut, Hops: []ledger.Hop{{Says: "gateway sent it like that.",
		Action: ledger.IgnoredMalformed, Arrived: []header.Header{{Name: header.UberTraceID, Value: "x", Problem: "want it whole"}, {Sampled: &off}}}}}}}, hidden)
	if err := hidden.Begin(); err != nil {
		t.Fatal(err)
	}
	refusing := newFake(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "too many", http.StatusTooManyRequests) })
	other := newFake(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") })
	gone := newFake(t, nil)
	gone.Close()
	for _, tc := range []struct {
		name   string
		of     http.Handler
		path   string
		status int
		want   map[string]string // by a path of the answer
	}{
		{"a plain service's", without, "/api/trace/ABC", 200, map[string]string{"trace.id": knownID, "trace.title": "uservice1", "trace.duration.text": "1.55 s",
			"trace.dark.name": "uservice1", "trace.plain.twin": "uservice3", "settled": "true", "absent": "<nil>", "requests": "<nil>"}},
		{"while a fault is hidden", hiding, "/api/trace/ABC", 200, map[string]string{"trace.notes": "[]", "requests.0.kind": "",
			"requests.0.headline": "Nothing is concluded here while a fault is hidden: reload the page once it is found.", "requests.0.hops.0.says.0.text": "",
			"requests.0.hops.0.action": "", "requests.0.hops.0.arrived.0.problem": "<nil>", "requests.0.hops.0.arrived.1.facts": ""}},
		{"nobody's, while a fault is hidden", hiding, "/api/trace/def?waited=11000&unsampled", 200, map[string]string{"absent.title": "This trace is not here",
			"absent.texts.0": "No span of it is in the trace store."}},
		{"beside another", without, "/api/trace/abd?with=abc", 200, map[string]string{"twin.trace.id": knownID, "twin.title": "Compared with uservice1: gateway · GET",
			"twin.text": "It began with this one, and took as long. Both are drawn on one time scale."}},
		{"beside nobody", without, "/api/trace/abd?with=<b>", 200, map[string]string{"twin.trace": "<nil>", "twin.title": "Nothing to compare with"}},
		{"beside its twin", without, "/api/trace/abc", 200, map[string]string{"twin.trace.id": twinID, "twin.title": "A request like it, instrumented: uservice3"}},
		{"the twin's own", without, "/api/trace/" + twinID, 200, map[string]string{"twin": "<nil>", "logs.about": "<nil>",
			"logs.lines.0.at.text": "2.00 ms", "logs.lines.0.span": "2", "logs.lines.0.service": "unknown service", "settled": "true"}},
		{"one without log lines", without, "/api/trace/abc", 200, map[string]string{"logs.lines": "[]", "logs.about": "The log store has no line with this trace's id."}},
		{"while the log store is gone", serveLogs(t, nil, nil, parse(t, gone.URL)), "/api/trace/abd", 200, map[string]string{"trace.id": twinID,
			"logs.bad": "true", "logs.about": "The log store at " + gone.URL + " does not answer. Is it running?", "settled": "false"}},
		{"while the log store refuses", serveLogs(t, nil, nil, parse(t, refusing.URL)), "/api/trace/abd", 200, map[string]string{
			"logs.about": "The log store refused: too many", "settled": "true"}},
		{"while something else is there", serveLogs(t, nil, nil, parse(t, other.URL)), "/api/trace/abd", 200, map[string]string{
			"logs.about": "What answers at " + other.URL + " is no Loki. Is the address right?"}},
		{"what is no id", without, "/api/trace/000", 200, map[string]string{"absent.title": "This is not a trace id", "absent.texts.1": "000", "settled": "true"}},
		{"nobody's id", withLedger, "/api/trace/def?waited=11000", 200, map[string]string{"trace": "<nil>", "absent.title": "This trace is not here", "settled": "true"}},
		{"nobody's id, at first", withLedger, "/api/trace/def", 200, map[string]string{"absent.title": "", "settled": "false"}},
		{"what only the ledger knows", withLedger, "/api/trace/" + strings.Repeat("1", 32), 200, map[string]string{
			"absent.title": "This call was not sampled", "total": "1"}},
		{"what an answer called not sampled", without, "/api/trace/def?unsampled", 200, map[string]string{"absent.title": "This call was not sampled"}},
		{"a call, by its agent", without, "/api/called?agent=agent+uservice1", 200, map[string]string{"id": knownID, "sampled": "true"}},
		{"a call that is not sampled", withLedger, "/api/called?agent=agent+unsampled", 200, map[string]string{"id": strings.Repeat("1", 32), "sampled": "false"}},
		{"nobody's call", withLedger, "/api/called?agent=nobody", 200, map[string]string{"id": ""}},
		{"a store that refuses", New(Options{Tempo: parse(t, refusing.URL), Gateway: parse(t, nowhere)}), "/api/trace/abc", 429, map[string]string{"error": "too many"}},
		{"a store that is gone, for its own answer", New(Options{Tempo: parse(t, gone.URL), Gateway: parse(t, nowhere)}), "/tempo/api/v2/traces/abc", 502,
			map[string]string{"error": "The trace store at " + gone.URL + " does not answer. Is it running?"}},
		{"a store that is gone", New(Options{Tempo: parse(t, gone.URL), Gateway: parse(t, nowhere)}), "/api/trace/abc", 502,
			map[string]string{"error": "The trace store at " + gone.URL + " does not answer. Is it running?"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := ask(t, tc.of, "GET", tc.path, "", nil)
			var got any
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != tc.status {
				t.Fatalf("answered %d: %s", w.Code, w.Body)
			}
			for path, want := range tc.want {
				v := got
				for key := range strings.FieldsFuncSeq(path, func(r rune) bool { return r == '.' }) {
					switch parent := v.(type) {
					case map[string]any:
						v = parent[key]
					case []any:
						v = parent[key[0]-'0']
					}
				}
				if fmt.Sprint(v) != want {
					t.Errorf("%s is %v, want %s", path, v, want)
				}
			}
		})
	}
}
