package collector

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"testing"
)

// checkStore looks for what must hold whatever was received.
func checkStore(t *testing.T, c *Collector) {
	t.Helper()
	st := c.store
	if st.bytes < 0 || st.bytes > st.maxBytes {
		t.Fatalf("%d bytes are kept, of %d", st.bytes, st.maxBytes)
	}
	paths := []string{searchPath("{}")}
	for _, tr := range st.recent() {
		paths = append(paths, fmt.Sprintf("/api/v2/traces/%x", tr.id),
			fmt.Sprintf("/loki/api/v1/query_range?direction=forward&query=%s%%22%x%%22", url.QueryEscape(`{service_name=~".+"}|trace_id=`), tr.id))
	}
	for _, path := range paths {
		if w := get(c.APIHandler(), path); w.Code != 200 || !json.Valid(w.Body.Bytes()) {
			t.Fatalf("%s: got %d %s", path, w.Code, w.Body)
		}
	}
	for st.order.Len() > 0 {
		st.evict(st.order.Back())
	}
	if st.bytes != 0 || len(st.traces) != 0 || len(st.origins) != 0 {
		t.Fatalf("%d bytes, %d traces, %d origins are left of nothing", st.bytes, len(st.traces), len(st.origins))
	}
}

func FuzzOTLPProtobuf(f *testing.F) {
	for _, r := range samples(sampleTime) {
		f.Add(wire(f, r))
	}
	f.Add(latin1(f, "\u00e9"))
	f.Add([]byte{0xff})
	f.Add(wire(f, logs("uservice3", newLine(1, 2, 3, "text", "n", 5, "list", []any{"y", true}))))
	f.Fuzz(func(t *testing.T, body []byte) {
		c := sized(1 << 20)
		for _, s := range signals {
			if w := postTo(c.OTLPHandler(), "/v1/"+s.name, contentProtobuf, bytes.Clone(body)); w.Code != 200 && w.Code != 400 {
				t.Fatalf("%s: got %d %s", s.name, w.Code, w.Body)
			}
		}
		checkStore(t, c)
	})
}

func FuzzOTLPJSON(f *testing.F) {
	f.Add(string(jsonSpan("5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174", `,"parentSpanId":"0000000000000001",`+
		`"attributes":[{"key":"n","value":{"doubleValue":"NaN"}}],"status":{"code":2}`)))
	f.Add(`{"resourceSpans":[null]}`)
	f.Add(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"","body":{"doubleValue":"NaN"}}]}]}]}`)
	f.Add("[\xff")
	f.Fuzz(func(t *testing.T, body string) {
		c := sized(1 << 20)
		for _, s := range signals {
			if w := postTo(c.OTLPHandler(), "/v1/"+s.name, contentJSON, []byte(body)); w.Code != 200 && w.Code != 400 || !json.Valid(w.Body.Bytes()) {
				t.Fatalf("%s: got %d %s", s.name, w.Code, w.Body)
			}
		}
		checkStore(t, c)
	})
}

// FuzzTraceQL holds that spaces around what was understood change nothing.
func FuzzTraceQL(f *testing.F) {
	for _, q := range []string{"{}", `{resource.a.b!="x\"}"&&kind=client}`, "{span.z>-1.5e3 && duration<=1m2s&&status = unset}", `{ name = "é" }`, "{}}", "{name=1}",
		"{} && {traceDuration>1s} | select( span.a , resource.b ) with (most_recent=true)"} {
		f.Add(q)
	}
	c := New(discard)
	send(f, c, samples(sampleTime)...)
	f.Fuzz(func(t *testing.T, q string) {
		query, err := parseTraceQL(q)
		if err != nil {
			return
		}
		again, err := parseTraceQL(" \t" + q + "\n")
		if err != nil {
			t.Fatalf("with more spaces: %v", err)
		}
		for _, tr := range c.store.recent() {
			if len(query.finds(&tr)) != len(again.finds(&tr)) {
				t.Fatalf("with more spaces it finds other traces than %x", tr.id)
			}
		}
	})
}
