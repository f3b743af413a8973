package ledger

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/grafana-tempo-go-demo/demo/header"
)

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
	return map[string]string{header.UberTraceID: traceID + ":" + spanID + ":0:1"}
}

// gatewayRecord is a request of the gateway in traceID that takes 50 ms, and sends the given
// headers on.
func gatewayRecord(ms int, service, traceID string, arrived, left header.Headers) Record {
	if left == nil {
		left = header.Headers{}
	}
	if arrived == nil {
		arrived = header.Headers{}
	}
	return Record{
		Time: at(ms), Duration: 50 * time.Millisecond, Name: "gateway", Method: "GET", Host: service + ".localhost:8000", Path: "/",
		Service: service, TraceID: traceID, SpanID: span(1), Arrived: arrived, Left: left, Status: 200,
	}
}

func uber(value string) header.Headers { return header.Headers{header.UberTraceID: value} }

func TestTheNewestRecordsAreKept(t *testing.T) {
	l := New(15)
	for i := range 100 {
		l.AddLine("uservice4", requestLine(100*i+1, jaegerHeader(traceA, span(1000+i)), traceA, span(i+1)))
		l.AddProxy(gatewayRecord(100*i, "uservice4", traceA, nil, uber(traceA+":"+span(1000+i)+":0:1")))
		l.AddLine(fmt.Sprintf("no-%d", i), requestLine(100*i+50, nil, "", ""))
	}
	if len(l.records) != 15 {
		t.Errorf("%d records are kept", len(l.records))
	}
	first := l.Recent(1000)
	if len(first) < 3 || !first[0].Time.After(first[1].Time) {
		t.Errorf("%d requests, not newest first", len(first))
	}
}

func TestLinesThatSayNothingAreNothing(t *testing.T) {
	l := New(DefaultMaxRecords)
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
	l := New(50)
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
				for _, query := range []string{"", "trace=" + traceA} {
					handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/api/ledger?"+query, nil))
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkOtherLine is the price of a line that says nothing about headers.
func BenchmarkOtherLine(b *testing.B) {
	l := New(DefaultMaxRecords)
	line := []byte(`{"time":"2026-01-02T12:00:00Z","level":"INFO","msg":"stopping","text":"` + strings.Repeat("x", 1000) + `"}`)
	for b.Loop() {
		l.AddLine("uservice1", line)
	}
}

// BenchmarkRequestLine is the price of a line that is kept.
func BenchmarkRequestLine(b *testing.B) {
	l := New(DefaultMaxRecords)
	line := requestLine(1, jaegerHeader(traceA, span(2)), traceA, span(3))
	for b.Loop() {
		l.AddLine("uservice3", line)
	}
}

// BenchmarkRecent is the price of looking at a full ledger of plain requests, 200 a second, that
// has changed.
func BenchmarkRecent(b *testing.B) {
	l := New(DefaultMaxRecords)
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

// BenchmarkOneTrace is the price of a full ledger whose clients all send the same trace id, 200
// times a second.
func BenchmarkOneTrace(b *testing.B) {
	l := New(DefaultMaxRecords)
	for i := range DefaultMaxRecords {
		forwarded := jaegerHeader(traceA, span(2))
		forwarded["x-forwarded-server"] = "gateway"
		l.AddLine("uservice3", requestLine(5*i+1, forwarded, traceA, span(3+i)))
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
