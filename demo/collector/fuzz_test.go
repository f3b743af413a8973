package collector

import (
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// checkStore looks for what must hold whatever was received.
func checkStore(t *testing.T, c *Collector) {
	t.Helper()
	st := c.store
	if st.bytes < 0 || st.bytes > st.maxBytes {
		t.Fatalf("%d bytes are kept, of %d", st.bytes, st.maxBytes)
	}
	for _, tr := range st.recent() {
		answered(t, c, tr.id)
	}
	if w := get(c.APIHandler(), searchPath("{}")); w.Code != 200 || !json.Valid(w.Body.Bytes()) {
		t.Fatalf("got %d %s", w.Code, w.Body)
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
	f.Fuzz(func(t *testing.T, body []byte) {
		c := sized(1 << 20)
		w := post(c.OTLPHandler(), contentProtobuf, body)
		if w.Code != 200 && w.Code != 400 {
			t.Fatalf("got %d %s", w.Code, w.Body)
		}
		checkStore(t, c)
	})
}

func FuzzOTLPJSON(f *testing.F) {
	f.Add(string(jsonSpan("5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174", `,"parentSpanId":"0000000000000001",`+
		`"attributes":[{"key":"n","value":{"doubleValue":"NaN"}}],"status":{"code":2}`)))
	f.Add(`{"resourceSpans":[null]}`)
	f.Add("[\xff")
	f.Fuzz(func(t *testing.T, body string) {
		c := sized(1 << 20)
		w := post(c.OTLPHandler(), contentJSON, []byte(body))
		if w.Code != 200 && w.Code != 400 || !json.Valid(w.Body.Bytes()) {
			t.Fatalf("got %d %s", w.Code, w.Body)
		}
		checkStore(t, c)
	})
}

func FuzzGzip(f *testing.F) {
	f.Add(zip(wire(f, samples(sampleTime)[0])))
	f.Add(append(zip(nil), zip([]byte{0xff})...))
	f.Add(zip(make([]byte, 1<<20))[:500])
	f.Add([]byte{0x1f, 0x8b})
	c := sized(1 << 20)
	f.Fuzz(func(t *testing.T, body []byte) {
		w := post(c.OTLPHandler(), contentProtobuf, body, "Content-Encoding", "gzip")
		if w.Code != 200 && w.Code != 400 && w.Code != 413 || w.Body.Len() > 4<<10+4*len(body) {
			t.Fatalf("got %d %s", w.Code, w.Body)
		}
	})
}

func FuzzSearch(f *testing.F) {
	for _, path := range sampleRequests {
		if _, query, ok := strings.Cut(path, "?"); ok {
			f.Add(query)
		}
	}
	c := New(discard)
	send(f, c, samples(sampleTime)...)
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequest(http.MethodGet, "/api/search", nil)
		r.URL.RawQuery = query
		w := httptest.NewRecorder()
		c.APIHandler().ServeHTTP(w, r)
		checkAnswer(t, w, len(query))
	})
}

// FuzzTraceQL also holds that spaces around what was understood change nothing.
func FuzzTraceQL(f *testing.F) {
	for _, q := range []string{"{}", `{resource.a.b!="x\"}"&&kind=client}`, "{span.z>-1.5e3 && duration<=1m2s&&status = unset}", `{ name = "é" }`, "{}}", "{name=1}"} {
		f.Add(q)
	}
	c := New(discard)
	send(f, c, samples(sampleTime)...)
	f.Fuzz(func(t *testing.T, q string) {
		holds, err := parseTraceQL(q)
		if err != nil {
			return
		}
		again, err := parseTraceQL(" {\t" + strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(q), "{"), "}") + " } ")
		if err != nil {
			t.Fatalf("with more spaces: %v", err)
		}
		for _, tr := range c.store.recent() {
			for _, s := range tr.spans {
				if holds(s) != again(s) {
					t.Fatalf("with more spaces it is another query: %s", s.Name)
				}
			}
		}
	})
}

func FuzzTrace(f *testing.F) {
	for _, id := range []string{wholeTrace, "ff", "F", "xyz", "", "é", strings.Repeat("0", 33), "<script>"} {
		f.Add(id)
	}
	c := New(discard)
	send(f, c, samples(sampleTime)...)
	f.Fuzz(func(t *testing.T, id string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.SetPathValue("traceID", id)
		w := httptest.NewRecorder()
		c.serveTrace(w, r)
		checkAnswer(t, w, len(id))
		got, err := parseTraceID(id)
		if err == nil && hex.EncodeToString(got[:]) != strings.Repeat("0", 32-len(id))+strings.ToLower(id) {
			t.Fatalf("%s is read as %x", id, got)
		}
	})
}

// checkAnswer holds an answer of the API to being JSON, or a text that no browser takes for a page,
// and to a size in proportion to what was asked: package time quotes a duration's bytes as four
// each, and twice.
func checkAnswer(t *testing.T, w *httptest.ResponseRecorder, asked int) {
	t.Helper()
	h := w.Header()
	switch {
	case w.Code == 200 && h.Get("Content-Type") == contentJSON && json.Valid(w.Body.Bytes()) && w.Body.Len() < 64<<10:
	case w.Code == 400 && h.Get("Content-Type") == "text/plain; charset=utf-8" && h.Get("X-Content-Type-Options") == "nosniff" &&
		w.Body.Len() > 0 && w.Body.Len() < 512+8*asked:
	default:
		t.Fatalf("got %d %v %s", w.Code, h, w.Body)
	}
}
