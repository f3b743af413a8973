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
	"google.golang.org/protobuf/proto"
)

const sampleTime = 1_700_000_000_000_000_000

func TestAnswersAreTheRecordedOnes(t *testing.T) {
	c := New(discard)
	send(t, c, samples(sampleTime)...)
	const file = "testdata/answers.golden"
	golden, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	recorded := strings.Split(strings.TrimSuffix(string(golden), "\n\n"), "\n\n")
	if len(recorded) != len(sampleRequests) && !*update {
		t.Fatalf("%s has %d answers to %d requests (go test -update writes it anew)", file, len(recorded), len(sampleRequests))
	}
	var got strings.Builder
	for i, path := range sampleRequests {
		w := get(c.APIHandler(), path)
		head := fmt.Sprintf("GET %s\n%d %s\n", path, w.Code, w.Header().Get("Content-Type"))
		body := canonical(w.Body.Bytes())
		fmt.Fprintf(&got, "%s%s\n\n", head, body)
		if *update {
			continue
		}
		want, ok := strings.CutPrefix(recorded[i], head)
		if !ok || canonical([]byte(want)) != body {
			t.Errorf("%s differs (go test -update writes it anew)\ngot  %s%s\nwant %s", file, head, body, recorded[i])
		}
	}
	if *update {
		if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// canonical writes equal JSON values alike, whatever their spaces and the order of their members,
// and leaves a text as it is.
func canonical(body []byte) string {
	var v any
	if json.Unmarshal(body, &v) != nil {
		return strings.TrimSuffix(string(body), "\n")
	}
	b, _ := json.Marshal(v)
	return string(b)
}

// With TEMPO_API_URL and TEMPO_OTLP_URL set, such as http://127.0.0.1:3200 and
// http://127.0.0.1:4318, a real Tempo 3.0.3 that is empty is sent the same
// spans and asked the same questions.
func TestAnswersAreTempos(t *testing.T) {
	api, otlp := os.Getenv("TEMPO_API_URL"), os.Getenv("TEMPO_OTLP_URL")
	if api == "" || otlp == "" {
		t.Skip("TEMPO_API_URL and TEMPO_OTLP_URL are not set")
	}
	c := New(discard)
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

// normalize leaves out what the demo does not read, metrics and span sets, and the order of
// attributes, which Tempo's blocks do not keep.
func normalize(body []byte) string {
	var v any
	if json.Unmarshal(body, &v) != nil {
		return strings.TrimSuffix(string(body), "\n")
	}
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, unread := range []string{"metrics", "spanSet", "spanSets"} {
				delete(v, unread)
			}
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
	c := New(discard)
	send(t, c, samples(sampleTime)...)
	for _, tr := range c.store.recent() {
		got := answered(t, c, tr.id)
		if !proto.Equal(got, tr.data()) {
			t.Errorf("trace %x: got %v, want %v", tr.id, got, tr.data())
		}
	}
}

// answered returns what the API answers with for a trace.
func answered(t *testing.T, c *Collector, id traceID) *tracepb.TracesData {
	t.Helper()
	w := get(c.APIHandler(), fmt.Sprintf("/api/v2/traces/%x", id))
	var answer struct{ Trace json.RawMessage }
	if err := json.Unmarshal(w.Body.Bytes(), &answer); w.Code != 200 || err != nil {
		t.Fatalf("got %d, no JSON: %v: %s", w.Code, err, w.Body)
	}
	data := &tracepb.TracesData{}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(answer.Trace, data); err != nil {
		t.Fatalf("no OTLP: %v: %s", err, w.Body)
	}
	return data
}

func TestUnsupportedQueriesSayWhatIsSupported(t *testing.T) {
	h := New(discard).APIHandler()
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

func TestUnsupportedParametersSayWhatIsSupported(t *testing.T) {
	h := New(discard).APIHandler()
	for _, parameter := range []string{"maxDuration=1s", "spss=1"} {
		if w := get(h, "/api/search?"+parameter); w.Code != 400 || !strings.Contains(w.Body.String(), "search with tags, minDuration") {
			t.Errorf("%s: got %d %s", parameter, w.Code, w.Body)
		}
	}
}

func TestSearchAnswersTheLatestWithinTheLimit(t *testing.T) {
	c := New(discard)
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
