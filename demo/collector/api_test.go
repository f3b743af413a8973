package collector

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

const sampleTime = 1_700_000_000_000_000_000

// answerOf writes an answer as it is compared: without what the demo does not read, metrics and span sets,
// and without the order of attributes, which Tempo's blocks do not keep.
func answerOf(code int, contentType string, body []byte) string {
	var v any
	if json.Unmarshal(body, &v) != nil {
		return fmt.Sprintf("%d %s\n%s\n", code, contentType, strings.TrimSpace(string(body)))
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
					slices.SortFunc(list, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
				}
			}
		case []any:
			for _, e := range v {
				walk(e)
			}
		}
	}
	walk(v)
	text, _ := json.Marshal(v)
	return fmt.Sprintf("%d %s\n%s\n", code, contentType, text)
}

// answers asks the API for all samples.
func answers(api http.Handler) string {
	var all strings.Builder
	for _, path := range sampleRequests {
		w := get(api, path)
		fmt.Fprintf(&all, "%s: %s", path, answerOf(w.Code, w.Header().Get("Content-Type"), w.Body.Bytes()))
	}
	return all.String()
}

func TestAnswersAreTheRecordedOnes(t *testing.T) {
	c := New(discard)
	send(t, c, samples(sampleTime)...)
	got := answers(c.APIHandler())
	const file = "testdata/answers.golden"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(file); got != string(want) {
		t.Errorf("%s differs (go test -update writes it anew): %v; now\n%s", file, err, got)
	}
}

// With TEMPO_API_URL and TEMPO_OTLP_URL set, such as http://127.0.0.1:3200 and
// http://127.0.0.1:4318, a real Tempo 3.0.3 that is empty is sent the same spans and asked the same
// questions.
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
	u, err := url.Parse(api)
	if err != nil {
		t.Fatal(err)
	}
	tempo := httputil.NewSingleHostReverseProxy(u)
	found := func() int { return strings.Count(get(tempo, searchPath("{}")).Body.String(), `"traceID"`) }
	for end := time.Now().Add(30 * time.Second); found() < len(reqs)-1; time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("Tempo does not find the traces within 30 s; was it empty?")
		}
	}
	if got, want := answers(c.APIHandler()), answers(tempo); got != want {
		t.Errorf("got\n%s\nTempo has\n%s", got, want)
	}
}

func searchPath(q string) string { return "/api/search?limit=100&q=" + url.QueryEscape(q) }

// The answers follow from the source of Tempo's pkg/traceql.
func TestTraceQLFindsTheTracesOfOneSpanThatFulfilsAll(t *testing.T) {
	c := New(discard)
	a, b := newSpan(0xa, 1, 0, "GET /", 0, 1500), newSpan(0xb, 1, 0, `say "hi" & }`, 0, 20)
	a.Kind, a.Attributes = tracepb.Span_SPAN_KIND_SERVER, attrs("code", 200, "share", 1.5, "ok", true, "args", []any{"-addr", "x"})
	a.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR}
	b.Attributes = attrs("code", "200", "größe", 3)
	child := newSpan(0xa, 2, 1, "redis_call", 1, 5)
	send(t, c, export(attrs("service.name", "uservice3", "process.pid", 7), a, child), export(attrs("service.name", "uservice4"), b))
	for q, want := range map[string]string{
		`{}`:                                             "a b",
		` { } `:                                          "a b",
		`{resource.service.name="uservice3"}`:            "a",
		`{ resource.service.name = "user" }`:             "",
		`{ resource.service.name =~ "user" }`:            "",
		`{ resource.service.name =~ ".*3|x" }`:           "a",
		`{ resource.service.name > "uservice3" }`:        "b",
		`{ resource.process.pid != 8 }`:                  "a", // what is missing is not unequal
		`{ span.code = 200 }`:                            "a",
		`{ span.code >= 200 && span.code < 200.5 }`:      "a",
		`{ span.share <= 1.5 }`:                          "a",
		`{ span.ok != true }`:                            "",
		`{ span.args = "-addr" }`:                        "a",
		`{ span.args != "-addr" }`:                       "", // of a list, none may be equal
		`{ span.größe = 3 }`:                             "b",
		`{ name = "say \"hi\" & }" }`:                    "b",
		`{ kind != server && kind = internal }`:          "a b",
		`{ status = error }`:                             "a",
		`{ status = unset && name = "redis_call" }`:      "a",
		`{ status = error && name = "redis_call" }`:      "", // two spans fulfil one each
		`{ status = error } && { name = "redis_call" }`:  "a",
		`{ status = error } && { name = "GET" }`:         "",
		`{} && {} with (most_recent=true)`:               "a b",
		`{ span.code = 200 } | select(span.größe)`:       "a", // which it has not
		`{ traceDuration >= 1s && name = "redis_call" }`: "a",
		`{ name = "} && {" }`:                            "",
		`{ duration > 1s }`:                              "a",
		`{ duration >= 20ms && duration < 21000000 }`:    "b",
	} {
		var answer searchAnswer
		if w := get(c.APIHandler(), searchPath(q)); json.Unmarshal(w.Body.Bytes(), &answer) != nil {
			t.Errorf("%s: got %d %s", q, w.Code, w.Body)
		}
		found := []string{}
		for _, tr := range answer.Traces {
			found = append(found, tr.TraceID)
		}
		if slices.Sort(found); strings.Join(found, " ") != want {
			t.Errorf("%s found %s, want %s", q, found, want)
		}
	}
}

func TestUnsupportedQueriesSayWhatIsSupported(t *testing.T) {
	h := New(discard).APIHandler()
	for _, q := range []string{
		"{", "foo", "{}{}", " ", "{} | count() > 2", `{ .x = "y" }`, "{ span.x }", `{ span.x !~ "y" }`, `{ span.x =~ "(" }`, "{ span.x =~ 1 }", `{ name = "a" || name = "b" }`,
		`{ name = "a" && }`, `{ name = "a }`, `{ name = "\q" }`, "{ name = 5 }", "{ name = error }", "{ status = errors }", "{ status > error }",
		"{ kind = error }", `{ duration > "1s" }`, "{ duration > 1x }", "{ duration > 1d }", "{ rootName = 1 }", `{ event.x = "y" }`,
		"{} with (sample=0.1)", "{} && ", "{} || {}", "{} | select()", "{} | select(name)", "{} | select(span.x) | count() > 2", `{ ok = true }`,
	} {
		if w := get(h, searchPath(q)); w.Code != 400 || !strings.Contains(w.Body.String(), "this collector answers { } and { resource.x") {
			t.Errorf("%q: got %d %s", q, w.Code, w.Body)
		}
	}
	for _, parameter := range []string{"tags=a%3Db", "maxDuration=1s", "start=x&end=5"} {
		if w := get(h, "/api/search?"+parameter); w.Code != 400 {
			t.Errorf("%s: got %d %s", parameter, w.Code, w.Body)
		}
	}
}

func TestSearchAnswersTheLatestWithinTheLimit(t *testing.T) {
	c := New(discard)
	for i := range 30 {
		send(t, c, export(nil, newSpan(uint64(i+1), 1, 0, "x", i, 1)))
	}
	var answer searchAnswer
	for limit, want := range map[string]int{"": 20, "&limit=5": 5, "&limit=100": 30} {
		w := get(c.APIHandler(), "/api/search?q=%7Bname=%22x%22%7D"+limit)
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			t.Fatal(err)
		}
		if len(answer.Traces) != want || answer.Traces[0].TraceID != "1e" {
			t.Errorf("%q: got %d traces, first %s", limit, len(answer.Traces), answer.Traces[0].TraceID)
		}
	}
}

func TestATraceIsProtobufForThoseWhoAcceptIt(t *testing.T) {
	c := New(discard)
	send(t, c, export(nil, newSpan(0xa, 1, 0, "GET /", 0, 1500)))
	for path, want := range map[string]*tracepb.TracesData{"a": c.store.get(idOf(0xa)).data(), "b": {}} {
		r := httptest.NewRequest(http.MethodGet, "/api/v2/traces/"+path, nil)
		r.Header.Set("Accept", "application/protobuf")
		w := httptest.NewRecorder()
		c.APIHandler().ServeHTTP(w, r)
		number, _, tag := protowire.ConsumeTag(w.Body.Bytes())
		value, _ := protowire.ConsumeBytes(w.Body.Bytes()[max(0, tag):])
		got := &tracepb.TracesData{}
		err := proto.Unmarshal(value, got)
		if err != nil || number != 1 || !proto.Equal(got, want) || w.Header().Get("Content-Type") != "application/protobuf" {
			t.Errorf("%s: got %v, %v, %v", path, got, err, w.Header())
		}
	}
}
