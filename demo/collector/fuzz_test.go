package collector

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
)

func unmendID(id []byte) []byte {
	b, err := base64.StdEncoding.DecodeString(hex.EncodeToString(id))
	if err != nil {
		panic(err)
	}
	return b
}

// checkStore looks for what must hold whatever was received.
func checkStore(t *testing.T, c *Collector) {
	t.Helper()
	st := c.store
	if st.bytes < 0 || st.bytes > st.maxBytes {
		t.Fatalf("%d bytes are kept, of %d", st.bytes, st.maxBytes)
	}
	for _, tr := range st.recent() {
		body := appendTrace(nil, tr.data(), "resourceSpans")
		if !json.Valid(body) {
			t.Fatalf("no JSON: %s", body)
		}
		if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(body, &tracepb.TracesData{}); err != nil {
			t.Fatalf("no OTLP: %v: %s", err, body)
		}
		if w := get(c.APIHandler(), "/api/v2/traces/"+hex.EncodeToString(tr.id[:]), "Accept", "application/protobuf"); w.Code != 200 {
			t.Fatalf("got %d %s", w.Code, w.Body)
		}
	}
	if w := get(c.APIHandler(), "/api/search?q=%7B%7D"); w.Code != 200 || !json.Valid(w.Body.Bytes()) {
		t.Fatalf("got %d %s", w.Code, w.Body)
	}
	for st.order.Len() > 0 {
		st.evict(st.order.Back())
	}
	if st.bytes != 0 {
		t.Fatalf("%d bytes are left of nothing", st.bytes)
	}
}

func FuzzOTLPProtobuf(f *testing.F) {
	for _, r := range samples(sampleTime) {
		f.Add(wire(f, r))
	}
	f.Add([]byte{})
	f.Add([]byte{0xff})
	f.Fuzz(func(t *testing.T, body []byte) {
		c := New(Options{MaxBytes: 1 << 20})
		w := post(c.OTLPHandler(), contentProtobuf, body)
		if w.Code != 200 && w.Code != 400 {
			t.Fatalf("got %d %s", w.Code, w.Body)
		}
		checkStore(t, c)
	})
}

func FuzzOTLPJSON(f *testing.F) {
	for _, r := range samples(sampleTime) {
		f.Add(string(jsonExport(f, r)))
	}
	f.Add(string(jsonSpan("5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174", `,"attributes":[{"key":"n","value":{"doubleValue":"NaN"}}]`)))
	f.Add(`{"resourceSpans":[null]}`)
	f.Add(`[`)
	f.Fuzz(func(t *testing.T, body string) {
		c := New(Options{MaxBytes: 1 << 20})
		w := post(c.OTLPHandler(), contentJSON, []byte(body))
		if w.Code != 200 && w.Code != 400 || !json.Valid(w.Body.Bytes()) {
			t.Fatalf("got %d %s", w.Code, w.Body)
		}
		checkStore(t, c)
	})
}

func FuzzSearch(f *testing.F) {
	for _, path := range sampleRequests {
		if _, query, ok := strings.Cut(path, "?"); ok {
			f.Add(query)
		}
	}
	c := New(Options{})
	send(f, c, samples(sampleTime)...)
	h := c.APIHandler()
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequest(http.MethodGet, "/api/search", nil)
		r.URL.RawQuery = query
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		switch {
		case w.Code == 200 && json.Valid(w.Body.Bytes()):
		case w.Code == 400 && w.Body.Len() > 0:
		default:
			t.Fatalf("got %d %s", w.Code, w.Body)
		}
	})
}

func FuzzTraceID(f *testing.F) {
	for _, id := range []string{wholeTrace, "ff", "F", "xyz", "", "é", strings.Repeat("0", 33)} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		got, err := parseTraceID(id)
		if err != nil {
			return
		}
		if want := strings.Repeat("0", 32-len(id)) + strings.ToLower(id); hex.EncodeToString(got[:]) != want {
			t.Fatalf("got %x, want %s", got, want)
		}
	})
}
