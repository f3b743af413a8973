package ledger

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew instead of comparing with them")

// upstreams is who calls whom in the demo.
var upstreams = map[string]string{"uservice1": "uservice2", "uservice3": "uservice4"}

// noon is when everything in these tests happens; at is so many milliseconds later.
var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func at(ms int) time.Time { return noon.Add(time.Duration(ms) * time.Millisecond) }

// requestLine is what a service logs of a request. A plain one has no span.
func requestLine(ms int, headers map[string]string, traceID, spanID string) []byte {
	entry := map[string]any{
		"time": at(ms), "level": "INFO", "msg": "request", "method": "GET", "host": "127.0.0.1:8084", "path": "/", "query": "", "headers": headers,
	}
	if headers == nil {
		entry["headers"] = map[string]string{}
	}
	if traceID != "" {
		entry["trace_id"], entry["span_id"] = traceID, spanID
	}
	data, err := json.Marshal(entry)
	if err != nil {
		panic(err)
	}
	return data
}

// answeredLine is what a service logs of the answer of the one it called.
func answeredLine(ms, status int, traceID, spanID string) []byte {
	return fmt.Appendf(nil, `{"time":%q,"level":"INFO","msg":"answer of other service","status":%d,"body":"\"msg\":\"request\"","trace_id":%q,"span_id":%q}`,
		at(ms).Format(time.RFC3339Nano), status, traceID, spanID)
}

// span returns a span id.
func span(n int) string { return fmt.Sprintf("%016x", n) }

func jaegerHeader(traceID, spanID string) map[string]string {
	return map[string]string{UberTraceID: traceID + ":" + spanID + ":0:1"}
}

// gatewayRecord is a request of the gateway in traceID that takes 50 ms, and sends the given headers on.
func gatewayRecord(ms int, service, traceID string, arrived, left http.Header) ProxyRecord {
	if left == nil {
		left = http.Header{}
	}
	if arrived == nil {
		arrived = http.Header{}
	}
	return ProxyRecord{
		Time: at(ms), Duration: 50 * time.Millisecond, Proxy: "gateway", Method: "GET", Host: service + ".localhost:8000", Path: "/",
		Service: service, TraceID: traceID, SpanID: span(1), Arrived: arrived, Left: left, Status: 200,
	}
}

func uber(value string) http.Header { return http.Header{"Uber-Trace-Id": {value}} }

// describe is a request in short: its outcome, its hops, and what is not tied to it.
func describe(r Request) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s", r.Outcome)
	for _, h := range r.Hops {
		fmt.Fprintf(&b, " | %s>%s %s %s", h.From, h.To, h.Action, h.Tie)
		if h.Ambiguous {
			b.WriteString(" ambiguous")
		}
	}
	for _, h := range r.Untied {
		fmt.Fprintf(&b, " ? %s %s %s", h.To, h.Action, h.Tie)
	}
	return b.String()
}

// scenarios are what can become of a context. Each is also a part of testdata/scenarios.golden.
var scenarios = []struct {
	name string
	add  func(*Ledger)
	want []string // newest first
}{
	{"the instrumented pair continues", func(l *Ledger) {
		l.AddLine("uservice3", requestLine(1, jaegerHeader(traceA, span(2)), traceA, span(3)))
		l.AddLine("uservice4", requestLine(10, jaegerHeader(traceA, span(4)), traceA, span(5)))
		l.AddLine("uservice3", answeredLine(40, 200, traceA, span(3)))
		r := gatewayRecord(0, "uservice3", traceA, nil, uber(traceA+":"+span(2)+":0:1"))
		r.TraceResponse = "00-" + traceA + "-" + span(3) + "-01"
		l.AddProxy(r)
	}, []string{"whole | client>gateway started first | gateway>uservice3 continued traceresponse | uservice3>uservice4 continued trace"}},

	{"the plain pair drops", func(l *Ledger) {
		l.AddLine("uservice1", requestLine(1, jaegerHeader(traceA, span(2)), "", ""))
		l.AddLine("uservice2", requestLine(10, nil, "", ""))
		l.AddProxy(gatewayRecord(0, "uservice1", traceA, nil, uber(traceA+":"+span(2)+":0:1")))
	}, []string{"ended | client>gateway started first | gateway>uservice1 dropped context ? uservice2 not-received none"}},

	{"a client sends its own context", func(l *Ledger) {
		l.AddLine("uservice4", requestLine(1, jaegerHeader(traceA, span(2)), traceA, span(3)))
		l.AddProxy(gatewayRecord(0, "uservice4", traceA, uber(traceA+":"+span(9)+":0:1"), uber(traceA+":"+span(2)+":0:1")))
	}, []string{"whole | client>gateway continued first | gateway>uservice4 continued context"}},

	{"a client sends nonsense", func(l *Ledger) {
		l.AddLine("uservice4", requestLine(1, jaegerHeader(traceA, span(2)), traceA, span(3)))
		l.AddProxy(gatewayRecord(0, "uservice4", traceA, uber("\x1b[31m:"), uber(traceA+":"+span(2)+":0:1")))
	}, []string{"cut | client>gateway ignored-malformed first | gateway>uservice4 continued context"}},

	{"the sampled flag is 0", func(l *Ledger) {
		headers := map[string]string{UberTraceID: traceA + ":" + span(2) + ":0:0"}
		l.AddLine("uservice4", requestLine(1, headers, traceA, span(3)))
		l.AddProxy(gatewayRecord(0, "uservice4", traceA, uber(traceA+":"+span(9)+":0:0"), uber(headers[UberTraceID])))
	}, []string{"whole | client>gateway continued first | gateway>uservice4 continued context"}},

	{"the proxy drops the header", func(l *Ledger) {
		l.AddLine("uservice3", requestLine(1, nil, traceB, span(3)))
		l.AddLine("uservice4", requestLine(10, jaegerHeader(traceB, span(4)), traceB, span(5)))
		r := gatewayRecord(0, "uservice3", traceA, nil, nil)
		r.TraceResponse = "00-" + traceB + "-" + span(3) + "-01"
		l.AddProxy(r)
	}, []string{"cut | client>gateway started first | gateway>uservice3 not-received traceresponse | uservice3>uservice4 continued trace"}},

	{"the proxy drops the header for a plain service", func(l *Ledger) {
		l.AddLine("uservice1", requestLine(1, nil, "", ""))
		l.AddProxy(gatewayRecord(0, "uservice1", traceA, nil, nil))
	}, []string{"cut | client>gateway started first | gateway>uservice1 not-received record ? uservice1 not-received none"}},

	{"the proxy mangles the header", func(l *Ledger) {
		mangled := strings.ToUpper(traceA) + ":" + span(2) + ":0:1"
		l.AddLine("uservice3", requestLine(1, map[string]string{UberTraceID: mangled}, traceB, span(3)))
		l.AddProxy(gatewayRecord(0, "uservice3", traceA, nil, uber(mangled)))
	}, []string{"cut | client>gateway started first | gateway>uservice3 ignored-malformed value"}},

	{"something changes the header on the way", func(l *Ledger) {
		l.AddLine("uservice3", requestLine(1, map[string]string{UberTraceID: "x"}, traceB, span(3)))
		r := gatewayRecord(0, "uservice3", traceA, nil, uber(traceA+":"+span(2)+":0:1"))
		r.TraceResponse = "00-" + traceB + "-" + span(3) + "-01"
		l.AddProxy(r)
	}, []string{"cut | client>gateway started first | gateway>uservice3 ignored-malformed traceresponse"}},

	{"uservice4 speaks traceparent only", func(l *Ledger) {
		l.AddLine("uservice3", requestLine(1, jaegerHeader(traceA, span(2)), traceA, span(3)))
		l.AddLine("uservice4", requestLine(10, jaegerHeader(traceA, span(4)), traceB, span(5)))
		l.AddLine("uservice3", answeredLine(40, 200, traceA, span(3)))
		l.AddProxy(gatewayRecord(0, "uservice3", traceA, nil, uber(traceA+":"+span(2)+":0:1")))
	}, []string{"cut | client>gateway started first | gateway>uservice3 continued context | uservice3>uservice4 ignored-format trace"}},

	{"uservice3 sends nothing on", func(l *Ledger) {
		l.AddLine("uservice3", requestLine(1, jaegerHeader(traceA, span(2)), traceA, span(3)))
		l.AddLine("uservice4", requestLine(10, nil, traceB, span(5)))
		l.AddLine("uservice3", answeredLine(40, 200, traceA, span(3)))
		l.AddProxy(gatewayRecord(0, "uservice3", traceA, nil, uber(traceA+":"+span(2)+":0:1")))
	}, []string{"cut | client>gateway started first | gateway>uservice3 continued context ? uservice4 not-received none"}},

	{"two headers name two traces", func(l *Ledger) {
		l.AddLine("uservice4", requestLine(1, map[string]string{
			UberTraceID: traceA + ":" + span(2) + ":0:1", TraceParent: "00-" + traceB + "-" + span(6) + "-01", Baggage: "user=1",
		}, traceB, span(3)))
	}, []string{"whole | client>uservice4 continued first"}},

	{"the direct port with a context", func(l *Ledger) {
		l.AddLine("uservice3", requestLine(1, jaegerHeader("1", span(2)), pad("1", 32), span(3)))
		l.AddLine("uservice4", requestLine(10, jaegerHeader(pad("1", 32), span(4)), pad("1", 32), span(5)))
	}, []string{"whole | client>uservice3 continued first | uservice3>uservice4 continued trace"}},

	{"the direct port without a context", func(l *Ledger) {
		l.AddLine("uservice2", requestLine(1, nil, "", ""))
		l.AddLine("uservice4", requestLine(2, nil, traceA, span(3)))
	}, []string{"whole | client>uservice4 started first", "untraced | client>uservice2 not-received first"}},

	{"a service whose SDK is off passes on what it got", func(l *Ledger) {
		l.AddLine("uservice3", requestLine(1, jaegerHeader(traceA, span(2)), traceA, span(2)))
		l.AddLine("uservice4", requestLine(10, jaegerHeader(traceA, span(2)), traceA, span(5)))
		l.AddProxy(gatewayRecord(0, "uservice3", traceA, nil, uber(traceA+":"+span(2)+":0:1")))
	}, []string{"whole | client>gateway started first | gateway>uservice3 continued context | uservice3>uservice4 continued trace"}},

	{"a host that nobody knows", func(l *Ledger) {
		r := gatewayRecord(0, "nobody", traceA, nil, nil)
		r.Service, r.Left, r.Status = "", nil, 404
		l.AddProxy(r)
	}, []string{"whole | client>gateway started first"}},

	{"a service that is down", func(l *Ledger) {
		r := gatewayRecord(0, "uservice3", traceA, nil, uber(traceA+":"+span(2)+":0:1"))
		r.Status = 502
		l.AddProxy(r)
	}, []string{"unknown | client>gateway started first | gateway>uservice3 unknown record"}},

	{"a request whose proxy has not told yet", func(l *Ledger) {
		headers := jaegerHeader(traceA, span(2))
		headers["x-forwarded-server"] = "gateway"
		l.AddLine("uservice3", requestLine(1, headers, traceA, span(3)))
	}, []string{"whole | proxy>uservice3 continued first"}},

	{"two traces interleaved", func(l *Ledger) {
		l.AddLine("uservice3", requestLine(1, jaegerHeader(traceA, span(2)), traceA, span(3)))
		l.AddLine("uservice3", requestLine(2, jaegerHeader(traceB, span(12)), traceB, span(13)))
		l.AddLine("uservice4", requestLine(10, jaegerHeader(traceB, span(14)), traceB, span(15)))
		l.AddLine("uservice4", requestLine(11, jaegerHeader(traceA, span(4)), traceA, span(5)))
		l.AddProxy(gatewayRecord(1, "uservice3", traceB, nil, uber(traceB+":"+span(12)+":0:1")))
		l.AddProxy(gatewayRecord(0, "uservice3", traceA, nil, uber(traceA+":"+span(2)+":0:1")))
	}, []string{
		"whole | client>gateway started first | gateway>uservice3 continued context | uservice3>uservice4 continued trace",
		"whole | client>gateway started first | gateway>uservice3 continued context | uservice3>uservice4 continued trace",
	}},

	{"two requests of the same trace at once", func(l *Ledger) {
		for i := range 2 {
			l.AddLine("uservice3", requestLine(1+i, jaegerHeader(traceA, span(2+i)), traceA, span(10+i)))
			l.AddLine("uservice4", requestLine(20+i, jaegerHeader(traceA, span(20+i)), traceA, span(30+i)))
			l.AddProxy(gatewayRecord(i, "uservice3", traceA, uber(traceA+":"+span(9)+":0:1"), uber(traceA+":"+span(2+i)+":0:1")))
		}
	}, []string{
		"whole | client>gateway continued first | gateway>uservice3 continued context | uservice3>uservice4 continued trace ambiguous",
		"whole | client>gateway continued first | gateway>uservice3 continued context | uservice3>uservice4 continued trace ambiguous",
	}},

	{"two plain requests at once", func(l *Ledger) {
		for i, id := range []string{traceA, traceB} {
			l.AddLine("uservice1", requestLine(1+i, jaegerHeader(id, span(2)), "", ""))
			l.AddLine("uservice2", requestLine(20+i, nil, "", ""))
			l.AddProxy(gatewayRecord(i, "uservice1", id, nil, uber(id+":"+span(2)+":0:1")))
		}
	}, []string{
		"ended | client>gateway started first | gateway>uservice1 dropped context ? uservice2 not-received none ? uservice2 not-received none",
		"ended | client>gateway started first | gateway>uservice1 dropped context ? uservice2 not-received none ? uservice2 not-received none",
	}},
}

func TestScenarios(t *testing.T) {
	var golden strings.Builder
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			l := New(Options{Upstreams: upstreams})
			s.add(l)
			found := l.Recent(10)
			var got []string
			for _, r := range found {
				got = append(got, describe(r))
				check(t, l, r)
			}
			if !slices.Equal(got, s.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(s.want, "\n"))
			}
			fmt.Fprintf(&golden, "=== %s\n\n", s.name)
			slices.Reverse(found)
			if err := Fprint(&golden, found); err != nil {
				t.Fatal(err)
			}
			golden.WriteString("\n")
		})
	}
	compare(t, "scenarios.golden", golden.String())
}

// check holds a request to what is true of each.
func check(t *testing.T, l *Ledger, r Request) {
	t.Helper()
	if found, ok := l.Request(r.ID); !ok || found.ID != r.ID {
		t.Errorf("request %s is not found by its id", r.ID)
	}
	for _, id := range r.Traces {
		found, err := l.Trace(strings.TrimLeft(id, "0"), MaxLimit)
		if err != nil || !slices.ContainsFunc(found, func(f Request) bool { return f.ID == r.ID }) {
			t.Errorf("request %s is not found by its trace %s: %v", r.ID, id, err)
		}
	}
	if r.Summary == "" || r.Outcome == "" || len(r.Hops) == 0 {
		t.Errorf("request %+v lacks something", r)
	}
	for _, h := range append(slices.Clone(r.Hops), r.Untied...) {
		if h.Says == "" || h.Action == "" || h.Tie == "" || h.Left.Source == "" || h.Arrived.Source == "" || h.Left.Headers == nil || h.Arrived.Headers == nil {
			t.Errorf("hop %+v lacks something", h)
		}
	}
}

func compare(t *testing.T, name, got string) {
	t.Helper()
	golden := filepath.Join("testdata", name)
	for _, line := range strings.Split(got, "\n") {
		if len(line) > textWidth || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r > '~' }) || strings.TrimRight(line, " ") != line {
			t.Errorf("no line for a terminal: %q", line)
		}
	}
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what is printed; run go test with -update and look at the difference; now:\n%s", golden, got)
	}
}

func TestEverythingWithoutUpstreamsIsACandidate(t *testing.T) {
	l := New(Options{})
	l.AddLine("a", requestLine(1, jaegerHeader(traceA, span(2)), "", ""))
	l.AddLine("b", requestLine(10, nil, "", ""))
	l.AddLine("c", requestLine(11, nil, "", ""))
	l.AddProxy(gatewayRecord(0, "a", traceA, nil, uber(traceA+":"+span(2)+":0:1")))
	want := "ended | client>gateway started first | gateway>a dropped context ? b not-received none ? c not-received none"
	if found := l.Recent(10); len(found) != 1 || describe(found[0]) != want {
		t.Errorf("got %v", found)
	}
}

func TestTheNewestRecordsAreKept(t *testing.T) {
	l := New(Options{MaxRecords: 3, Upstreams: upstreams})
	for i := range 100 {
		l.AddLine("uservice4", requestLine(100*i+1, jaegerHeader(traceA, span(1000+i)), traceA, span(i+1)))
		l.AddProxy(gatewayRecord(100*i, "uservice4", traceA, nil, uber(traceA+":"+span(1000+i)+":0:1")))
		l.AddLine(fmt.Sprintf("no-%d", i), requestLine(100*i+50, nil, "", ""))
	}
	if len(l.proxied) != 3 || len(l.lines) != 12 || len(l.bySpan) != 6 {
		t.Errorf("%d records, %d lines, %d spans are kept", len(l.proxied), len(l.lines), len(l.bySpan))
	}
	first := l.Recent(1000)
	if len(first) < 3 || !first[0].Time.After(first[1].Time) {
		t.Errorf("%d requests, not newest first", len(first))
	}
	for i := range 2 * maxServices {
		l.AddLine(fmt.Sprintf("name-%d", i), requestLine(i, nil, "", ""))
	}
	if len(l.services) > maxServices {
		t.Errorf("%d names of services are kept", len(l.services))
	}
}

func TestCandidatesAreBounded(t *testing.T) {
	l := New(Options{Upstreams: upstreams})
	l.AddLine("uservice1", requestLine(1, jaegerHeader(traceA, span(2)), "", ""))
	for range 20 {
		l.AddLine("uservice2", requestLine(10, nil, "", ""))
	}
	l.AddProxy(gatewayRecord(0, "uservice1", traceA, nil, uber(traceA+":"+span(2)+":0:1")))
	if r := l.Recent(1)[0]; len(r.Untied) != maxUntied || r.UntiedTotal != 20 {
		t.Errorf("%d of %d candidates are listed", len(r.Untied), r.UntiedTotal)
	}
}

func TestLinesThatSayNothingAreNothing(t *testing.T) {
	l := New(Options{})
	for _, line := range []string{
		"", "{", "null", `{"msg":"request"}`, `{"time":"2026-01-02T12:00:00Z","msg":"request"}`, `{"msg":"request","time":17,"headers":{}}`,
		`{"time":"2026-01-02T12:00:00Z","msg":"other","headers":{},"body":"\"msg\":\"request\""}`,
		`{"time":"2026-01-02T12:00:00Z","msg":"other","x":{"msg":"request"},"headers":{}}`,
		`{"time":"2026-01-02T12:00:00Z","msg":"answer of other service","trace_id":"1","span_id":"2"}`,
		`{"DownstreamStatus":200}`, `{"DownstreamStatus":"200"}`, strings.Repeat(`{"msg":"request",`, 10000),
	} {
		l.AddLine("uservice1", []byte(line))
	}
	if found := l.Recent(10); len(found) != 0 {
		t.Errorf("found %v", found)
	}
}

func TestConcurrentUse(t *testing.T) {
	l := New(Options{MaxRecords: 50, Upstreams: upstreams})
	handler := l.Handler()
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			for i := range 50 {
				l.AddLine("uservice3", requestLine(i, jaegerHeader(traceA, span(n+2)), traceA, span(100*n+i+1)))
				l.AddLine("uservice3", answeredLine(i+1, 200, traceA, span(100*n+i+1)))
				l.AddProxy(gatewayRecord(i, "uservice3", traceA, nil, uber(traceA+":"+span(n+2)+":0:1")))
			}
		})
		wg.Go(func() {
			for range 20 {
				for _, query := range []string{"limit=5", "trace=" + traceA, "request=p3"} {
					handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/api/ledger?"+query, nil))
				}
			}
		})
	}
	wg.Wait()
}

func TestHandler(t *testing.T) {
	l := New(Options{Upstreams: upstreams})
	scenarios[0].add(l)
	id := l.Recent(1)[0].ID
	for name, test := range map[string]struct {
		method, query string
		status        int
		want          string // part of the answer
	}{
		"the newest":                {query: "", status: 200, want: `"outcome":"whole"`},
		"a few":                     {query: "limit=1", status: 200, want: traceA},
		"by a trace":                {query: "trace=" + traceA, status: 200, want: `"action":"continued"`},
		"by a trace in upper case":  {query: "trace=" + strings.ToUpper(traceA), status: 200, want: traceA},
		"by a request":              {query: "request=" + id, status: 200, want: traceA},
		"by a request's line":       {query: "request=r1", status: 200, want: traceA},
		"HEAD":                      {method: http.MethodHead, query: "", status: 200},
		"an unknown trace":          {query: "trace=1", status: 404, want: "nothing is known of this trace"},
		"an unknown request":        {query: "request=p99", status: 404, want: "no request with this id"},
		"an id that is none":        {query: "trace=xyz", status: 400, want: "not hexadecimal"},
		"an id that is too long":    {query: "trace=" + traceA + "0", status: 400, want: "too long"},
		"an empty id":               {query: "trace=", status: 400, want: "empty"},
		"a limit that is none":      {query: "limit=many", status: 400, want: "want a number from 1 to 1000"},
		"a limit that is too large": {query: "limit=1001", status: 400, want: "want a number from 1 to 1000"},
		"an unknown parameter":      {query: "traceid=1", status: 400, want: "there is no parameter"},
		"two of a kind":             {query: "trace=1&trace=2", status: 400, want: "give it once"},
		"two that exclude another":  {query: "trace=1&request=2", status: 400, want: "exclude"},
		"a malformed query":         {query: "%zz", status: 400, want: "invalid URL escape"},
		"another method":            {method: http.MethodPost, query: "", status: 405, want: "use GET"},
	} {
		t.Run(name, func(t *testing.T) {
			res := httptest.NewRecorder()
			req := httptest.NewRequest(cmpOr(test.method, http.MethodGet), "/api/ledger", nil)
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

func cmpOr(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// TestTheShapeOfTheAPI holds the JSON to a golden file: it is a promise to whoever reads it.
func TestTheShapeOfTheAPI(t *testing.T) {
	l := New(Options{Upstreams: upstreams})
	scenarios[1].add(l)
	data, err := json.MarshalIndent(Answer{l.Recent(1)}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "api.golden.json")
	if *update {
		if err := os.WriteFile(golden, append(data, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(golden); err != nil || string(want) != string(data)+"\n" {
		t.Errorf("%v, %s", err, data)
	}
}

// BenchmarkOtherLine is the price of a line that says nothing about headers.
func BenchmarkOtherLine(b *testing.B) {
	l := New(Options{})
	line := []byte(`{"time":"2026-01-02T12:00:00Z","level":"INFO","msg":"stopping","text":"` + strings.Repeat("x", 1000) + `"}`)
	for b.Loop() {
		l.AddLine("uservice1", line)
	}
}

// BenchmarkRequestLine is the price of a line that is kept.
func BenchmarkRequestLine(b *testing.B) {
	l := New(Options{})
	line := requestLine(1, jaegerHeader(traceA, span(2)), traceA, span(3))
	for b.Loop() {
		l.AddLine("uservice3", line)
	}
}

// BenchmarkRecent is the price of looking at a full ledger of plain requests, 200 a second, that has changed.
func BenchmarkRecent(b *testing.B) {
	l := New(Options{Upstreams: upstreams})
	for i := range DefaultMaxRecords {
		id := fmt.Sprintf("%032x", i+1)
		l.AddLine("uservice1", requestLine(5*i+1, jaegerHeader(id, span(2)), "", ""))
		l.AddLine("uservice2", requestLine(5*i+150, nil, "", ""))
		r := gatewayRecord(5*i, "uservice1", id, nil, uber(id+":"+span(2)+":0:1"))
		r.Duration = 1700 * time.Millisecond
		l.AddProxy(r)
	}
	for b.Loop() {
		l.AddLine("uservice2", requestLine(5*DefaultMaxRecords, nil, "", ""))
		l.Recent(20)
	}
}

// BenchmarkOneTrace is the price of a full ledger whose clients all send the same trace id, 200 times a second.
func BenchmarkOneTrace(b *testing.B) {
	l := New(Options{Upstreams: upstreams})
	for i := range DefaultMaxRecords {
		l.AddLine("uservice3", requestLine(5*i+1, jaegerHeader(traceA, span(2)), traceA, span(3+i)))
		l.AddLine("uservice4", requestLine(5*i+150, jaegerHeader(traceA, span(4)), traceA, span(100000+i)))
		r := gatewayRecord(5*i, "uservice3", traceA, uber(traceA+":"+span(1)+":0:1"), nil)
		r.Duration, r.Left = 1700*time.Millisecond, nil
		l.AddProxy(r)
	}
	for b.Loop() {
		l.AddLine("uservice2", requestLine(5*DefaultMaxRecords, nil, "", ""))
		if _, err := l.Trace(traceA, 20); err != nil {
			b.Fatal(err)
		}
	}
}
