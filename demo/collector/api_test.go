package collector

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

const sampleTime = 1_700_000_000_000_000_000

func TestAnswersAreTheRecordedOnes(t *testing.T) {
	c := New(Options{})
	send(t, c, samples(sampleTime)...)
	var got strings.Builder
	for _, path := range sampleRequests {
		w := get(c.APIHandler(), path)
		fmt.Fprintf(&got, "GET %s\n%d %s\n%s\n\n", path, w.Code, w.Header().Get("Content-Type"), strings.TrimSuffix(w.Body.String(), "\n"))
	}
	const file = "testdata/answers.golden"
	if *update {
		if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		gotLines, wantLines := strings.Split(got.String(), "\n"), strings.Split(string(want), "\n")
		for i := range min(len(gotLines), len(wantLines)) {
			if gotLines[i] != wantLines[i] {
				t.Fatalf("%s:%d differs (go test -update writes it anew)\ngot  %s\nwant %s", file, i+1, gotLines[i], wantLines[i])
			}
		}
		t.Fatalf("%s differs in length (go test -update writes it anew)", file)
	}
}

// With TEMPO_API_URL and TEMPO_OTLP_URL set, such as http://127.0.0.1:3200 and
// http://127.0.0.1:4318, a real Tempo 3.0.3 that is empty is sent the same
// spans and asked the same questions.
func TestAnswersAreTempos(t *testing.T) {
	api, otlp := os.Getenv("TEMPO_API_URL"), os.Getenv("TEMPO_OTLP_URL")
	if api == "" || otlp == "" {
		t.Skip("TEMPO_API_URL and TEMPO_OTLP_URL are not set")
	}
	c := New(Options{})
	reqs := samples(uint64(time.Now().Add(-20 * time.Second).Truncate(time.Second).UnixNano()))
	send(t, c, reqs...)
	for _, r := range reqs {
		res, err := http.Post(otlp+"/v1/traces", contentProtobuf, bytes.NewReader(wire(t, r)))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	ask := func(path string) (int, string, []byte) {
		res, err := http.Get(api + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, res.Header.Get("Content-Type"), b
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for tick := time.NewTicker(200 * time.Millisecond); ; <-tick.C {
		if _, _, b := ask("/api/search"); bytes.Count(b, []byte(`"traceID"`)) == 5 {
			break
		}
		if ctx.Err() != nil {
			t.Fatal("Tempo does not find the five traces within 30 s; was it empty?")
		}
	}
	for _, path := range sampleRequests {
		code, contentType, body := ask(path)
		w := get(c.APIHandler(), path)
		if w.Code != code || w.Header().Get("Content-Type") != contentType {
			t.Errorf("%s: got %d %q, Tempo %d %q", path, w.Code, w.Header().Get("Content-Type"), code, contentType)
		}
		if got, want := normalize(w.Body.Bytes()), normalize(body); got != want {
			t.Errorf("%s:\ngot   %s\nTempo %s", path, got, want)
		}
	}
}

// normalize leaves out what Tempo itself answers now so, now so: the metrics,
// and the order of attributes, which its blocks do not keep.
func normalize(body []byte) string {
	var v any
	if json.Unmarshal(body, &v) != nil {
		return string(body)
	}
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			delete(v, "metrics")
			for k, e := range v {
				walk(e)
				if list, ok := e.([]any); ok && k == "attributes" {
					slices.SortFunc(list, func(a, b any) int {
						return strings.Compare(fmt.Sprint(a.(map[string]any)["key"]), fmt.Sprint(b.(map[string]any)["key"]))
					})
				}
			}
		case []any:
			for _, e := range v {
				walk(e)
			}
		}
	}
	walk(v)
	b, _ := json.Marshal(v)
	return string(b)
}

func TestJSONHoldsTheWholeTrace(t *testing.T) {
	c := New(Options{})
	send(t, c, samples(sampleTime)...)
	for _, tr := range c.store.recent() {
		got := &tracepb.TracesData{}
		if err := protojson.Unmarshal(appendTrace(nil, tr.data(), "resourceSpans"), got); err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(got, tr.data()) {
			t.Errorf("trace %x: got %v, want %v", tr.id, got, tr.data())
		}
	}
}

func TestProtobufIsAnsweredToWhoAsks(t *testing.T) {
	c := New(Options{})
	send(t, c, samples(sampleTime)...)
	ask := func(path string) []byte {
		t.Helper()
		w := get(c.APIHandler(), path, "Accept", "text/html, application/protobuf;q=0.5")
		if w.Code != 200 || w.Header().Get("Content-Type") != "application/protobuf" {
			t.Fatalf("%s: got %d %s", path, w.Code, w.Header().Get("Content-Type"))
		}
		return w.Body.Bytes()
	}
	want := c.store.get(traceID(fromHex(wholeTrace))).data()

	v1 := &tracepb.TracesData{}
	if err := proto.Unmarshal(ask("/api/traces/"+wholeTrace), v1); err != nil || !proto.Equal(v1, want) {
		t.Errorf("v1: got %v, %v", v1, err)
	}
	body := ask("/api/v2/traces/" + wholeTrace)
	inner, n := protowire.ConsumeBytes(body[1:])
	v2 := &tracepb.TracesData{}
	if n < 0 || proto.Unmarshal(inner, v2) != nil || !proto.Equal(v2, want) {
		t.Errorf("v2: got %x", body)
	}
	// Tempo's own bytes, apart from the metrics.
	if got := ask("/api/v2/traces/ff"); !bytes.Equal(got, []byte("\n\x00\x12\x00")) {
		t.Errorf("unknown trace: got %q", got)
	}
	if got, want := ask("/api/search?tags=name%3Dshort"), "\n0\n\x10a1b2c3d4e5f60718\x12\tuservice1\x1a\x05short"; !strings.HasPrefix(string(got), want) {
		t.Errorf("search: got %q, want %q first", got, want)
	}
	if got, want := ask("/api/search?q=%7B%7D"), "B\x0f\n\tuservice1\x12\x02\x08\x01"; !strings.Contains(string(got), want) {
		t.Errorf("search: got %q, want %q in it", got, want)
	}
}

func TestUnsupportedQueriesSayWhatIsSupported(t *testing.T) {
	h := New(Options{}).APIHandler()
	for _, q := range []string{"{resource.process.pid=1}", "{", "foo", "{}{}", " "} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/api/search", nil)
		r.URL.RawQuery = "q=" + strings.NewReplacer(" ", "%20").Replace(q)
		h.ServeHTTP(w, r)
		if w.Code != 400 || !strings.Contains(w.Body.String(), "answers {} alone") {
			t.Errorf("%q: got %d %s", q, w.Code, w.Body)
		}
	}
}

func TestSearchAnswersTheLatestWithinTheLimit(t *testing.T) {
	c := New(Options{})
	for i := range 30 {
		send(t, c, export(nil, newSpan(uint64(i+1), 1, 0, "x", i, 1)))
	}
	var answer struct{ Traces []struct{ TraceID string } }
	for limit, want := range map[string]int{"": 20, "&limit=5": 5, "&limit=100": 30} {
		w := get(c.APIHandler(), "/api/search?tags=name%3Dx"+limit)
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			t.Fatal(err)
		}
		if len(answer.Traces) != want || answer.Traces[0].TraceID != "1e" {
			t.Errorf("%q: got %d traces, first %s", limit, len(answer.Traces), answer.Traces[0].TraceID)
		}
	}
}

func TestReadyUntilShutdown(t *testing.T) {
	c := New(Options{})
	if w := get(c.APIHandler(), "/ready"); w.Code != 200 {
		t.Errorf("before: got %d", w.Code)
	}
	if err := c.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if w := get(c.APIHandler(), "/ready"); w.Code != 503 {
		t.Errorf("after: got %d", w.Code)
	}
}
