package ledger

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/grafana-tempo-go-demo/demo/header"
)

const (
	traceA = "4bf92f3577b34da6a3ce929d0e0e4736"
	traceB = "0af7651916cd43dd8448eb211c80319c"
	traceC = "1bf7651916cd43dd8448eb211c80319c"
)

// noon is when everything in these tests happens; at is so many milliseconds later.
var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func at(ms int) time.Time { return noon.Add(time.Duration(ms) * time.Millisecond) }

// requestLine is what a service logs of a request. A plain one has no span.
func requestLine(ms int, headers header.Headers, traceID, spanID string) []byte {
	entry := map[string]any{
		"time": at(ms), "level": "INFO", "msg": "request", "method": "GET", "host": "127.0.0.1:8084", "path": "/", "query": "", "headers": headers,
	}
	if headers == nil {
		entry["headers"] = header.Headers{}
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

func uber(traceID string, n int) header.Headers {
	return header.Headers{header.UberTraceID: traceID + ":" + span(n) + ":0:1"}
}

// through adds what only a proxy adds.
func through(headers header.Headers) header.Headers {
	all := header.Headers{"x-forwarded-server": "gateway"}
	for name, value := range headers {
		all[name] = value
	}
	return all
}

// gatewayRecord is a request of the gateway in traceID that takes 50 ms, and sends the given headers
// on. Its client sent none.
func gatewayRecord(ms int, service, traceID string, left header.Headers) Record {
	if left == nil {
		left = header.Headers{}
	}
	return Record{
		Time: at(ms), Duration: 50 * time.Millisecond, Name: "gateway", Method: "GET", Host: service + ".localhost:8000", Path: "/",
		Service: service, TraceID: traceID, SpanID: span(1), Arrived: header.Headers{}, Left: left, Status: 200,
	}
}

func TestTheNewestRecordsAreKept(t *testing.T) {
	l := New(15)
	for i := range 100 {
		l.AddLine("uservice4", requestLine(100*i+1, uber(traceA, 1000+i), traceA, span(i+1)))
		l.AddProxy(gatewayRecord(100*i, "uservice4", traceA, uber(traceA, 1000+i)))
		l.AddLine("uservice1", requestLine(100*i+50, nil, "", ""))
	}
	if len(l.records) != 15 || len(l.spans) != 5 {
		t.Errorf("%d records and %d spans are kept", len(l.records), len(l.spans))
	}
	if first := l.Recent(1000); len(first) != 10 || !first[0].Time.After(first[1].Time) {
		t.Errorf("%d requests, not newest first", len(first))
	}
	if found, total, err := l.Trace(traceA, 2); err != nil || len(found) != 2 || total != 5 {
		t.Errorf("%d of %d requests of a trace, %v", len(found), total, err)
	}
}

// TestManyLinesWithOneContext would take minutes if each line were compared with all others.
func TestManyLinesWithOneContext(t *testing.T) {
	l := New(maxLogRecords)
	for i := range maxLogRecords / 6 {
		l.AddLine("uservice3", requestLine(1, through(uber(traceA, 2)), traceA, span(3+i)))
		l.AddLine("uservice4", requestLine(2, uber(traceA, 4), traceA, span(100_000+i)))
		r := gatewayRecord(i, "uservice3", traceA, nil)
		r.Left, r.Duration = nil, time.Hour
		l.AddProxy(r)
	}
	if found, total, err := l.Trace(traceA, 3); err != nil || len(found) != 3 || total != maxLogRecords/2 {
		t.Errorf("%d of %d, %v", len(found), total, err)
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
		strings.Repeat(`{"DownstreamStatus":[`, 1<<20),
	} {
		l.AddLine("uservice1", []byte(line))
	}
	if found := l.Recent(10); len(found) != 0 {
		t.Errorf("found %v", found)
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
	l.AddLine("uservice3", []byte(at+`4Z","msg":"telemetry reaches the back end again","what":"spans"}`))
	if own := l.services["uservice3"]; own.Vain != "" || own.Back.Second() != 4 || own.Started.Second() != 1 {
		t.Errorf("after the outage: %v", own)
	}
	l.AddLine("uservice3", []byte(at+`5Z","msg":"listening"}`))
	if own := l.services["uservice3"]; own.Vain != "" || own.Started.Second() != 5 {
		t.Errorf("after its start: %v", own)
	}
}
