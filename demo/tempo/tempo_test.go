package tempo_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"example.com/grafana-tempo-go-demo/demo/collector"
	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/demo/traceid"
)

// serve starts a collector that has received exports in OTLP's JSON.
func serve(t *testing.T, exports ...string) *tempo.Client {
	t.Helper()
	c := collector.New(slog.New(slog.DiscardHandler))
	for _, e := range exports {
		r := httptest.NewRequest(http.MethodPost, "/v1/traces", strings.NewReader(e))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		c.OTLPHandler().ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			t.Fatalf("export: %s", w.Body)
		}
	}
	s := httptest.NewServer(c.APIHandler())
	t.Cleanup(s.Close)
	return &tempo.Client{URL: s.URL, HTTP: s.Client()}
}

// answer starts a back end that answers everything alike.
func answer(t *testing.T, code int, body string) *tempo.Client {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	return &tempo.Client{URL: s.URL}
}

const (
	id      = "5b8efff798038103d269b633813fc60c"
	shortID = "0000000000000000a1b2c3d4e5f60718"
)

const caller = `{"resourceSpans":[{
  "resource":{"attributes":[{"key":"service.name","value":{"stringValue":"uservice3"}},{"key":"process.pid","value":{"intValue":"4711"}}]},
  "scopeSpans":[{"spans":[
    {"traceId":"` + id + `","spanId":"0000000000000001","name":"handle_incoming_call","kind":2,"startTimeUnixNano":"1000000000","endTimeUnixNano":"3000000000","status":{"code":1},
     "events":[{"timeUnixNano":"1500000000","name":"Request decoded!","attributes":[{"key":"happened","value":{"boolValue":true}}]}]},
    {"traceId":"` + id + `","spanId":"0000000000000002","parentSpanId":"0000000000000001","name":"redis_call","kind":3,"startTimeUnixNano":"1100000000","endTimeUnixNano":"1200000000",
     "attributes":[{"key":"s","value":{"stringValue":"x"}},{"key":"b","value":{"boolValue":false}},{"key":"i","value":{"intValue":"9007199254740993"}},
       {"key":"d","value":{"doubleValue":1.5}},{"key":"inf","value":{"doubleValue":"-Infinity"}},{"key":"a","value":{"arrayValue":{"values":[{"stringValue":"x"},{"intValue":"1"}]}}},
       {"key":"m","value":{"kvlistValue":{"values":[{"key":"k","value":{"stringValue":"v"}}]}}},{"key":"y","value":{"bytesValue":"AAEC"}},{"key":"n","value":{}}]}]}]}]}`

const called = `{"resourceSpans":[{
  "resource":{"attributes":[{"key":"service.name","value":{"stringValue":"uservice4"}}]},
  "scopeSpans":[{"spans":[
    {"traceId":"` + id + `","spanId":"0000000000000004","parentSpanId":"0000000000000001","name":"late","kind":1,"startTimeUnixNano":"1900000000","endTimeUnixNano":"2000000000"},
    {"traceId":"` + id + `","spanId":"0000000000000003","parentSpanId":"0000000000000001","name":"early","kind":1,"startTimeUnixNano":"900000000","endTimeUnixNano":"2000000000","status":{"code":2,"message":"boom"}},
    {"traceId":"` + id + `","spanId":"0000000000000005","parentSpanId":"00000000000000ff","name":"orphan","startTimeUnixNano":"2500000000","endTimeUnixNano":"2600000000"}]}]}]}`

const other = `{"resourceSpans":[{"scopeSpans":[{"spans":[
    {"traceId":"` + shortID + `","spanId":"0000000000000001","name":"other","startTimeUnixNano":"5000000000","endTimeUnixNano":"5007900000"}]}]}]}`

func TestTraceIsATree(t *testing.T) {
	tr, err := serve(t, called, caller).Trace(t.Context(), strings.ToUpper(id))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range tr.Spans {
		names = append(names, s.Name)
	}
	// By start, but a child whose clock is ahead comes after its parent.
	if want := []string{"handle_incoming_call", "early", "redis_call", "late", "orphan"}; tr.ID != id || !reflect.DeepEqual(names, want) {
		t.Errorf("trace %s has the spans %q, want %q", tr.ID, names, want)
	}
	if orphan := tr.Spans[4]; orphan.Parent != nil || orphan.ParentID != "00000000000000ff" {
		t.Errorf("the orphan is %+v", orphan)
	}
	names = nil
	for _, s := range tr.Spans[0].Children {
		names = append(names, s.Name)
	}
	if want := []string{"early", "redis_call", "late"}; !reflect.DeepEqual(names, want) {
		t.Errorf("got the children %q, want %q", names, want)
	}
}

func TestSpanHasAllThatWasSent(t *testing.T) {
	tr, err := serve(t, caller, called).Trace(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	root, early, redis := tr.Spans[0], tr.Spans[1], tr.Spans[2]
	if root.SpanID != "0000000000000001" || root.ParentID != "" || root.Kind != "server" || root.Service != "uservice3" || root.Status != "ok" ||
		!root.Start.Equal(time.Unix(1, 0)) || root.End.Sub(root.Start) != 2*time.Second || root.Resource["process.pid"] != int64(4711) {
		t.Errorf("root is %+v", root)
	}
	event := tempo.Event{Name: "Request decoded!", Time: time.Unix(1, 5e8), Attributes: map[string]any{"happened": true}}
	if !reflect.DeepEqual(root.Events, []tempo.Event{event}) {
		t.Errorf("events are %v", root.Events)
	}
	if early.Service != "uservice4" || early.Kind != "internal" || early.Status != "error" || early.StatusMessage != "boom" || early.ParentID != root.SpanID {
		t.Errorf("early is %+v", early)
	}
	want := map[string]any{"s": "x", "b": false, "i": int64(9007199254740993), "d": 1.5, "inf": math.Inf(-1),
		"a": []any{"x", int64(1)}, "m": map[string]any{"k": "v"}, "y": []byte{0, 1, 2}, "n": nil}
	if redis.Status != "unset" || redis.Kind != "client" || !reflect.DeepEqual(redis.Attributes, want) {
		t.Errorf("redis is %+v", redis)
	}
	if tr.Spans[4].Kind != "unspecified" {
		t.Errorf("kind is %q", tr.Spans[4].Kind)
	}
}

func TestShortIDsFindTheirTrace(t *testing.T) {
	tr, err := serve(t, other).Trace(t.Context(), "A1B2c3d4e5f60718")
	if err != nil || tr.ID != shortID {
		t.Errorf("got %v, %v", tr, err)
	}
	// A back end that leaves out the zeros of ids.
	tr, err = answer(t, 200, `{"trace":{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"AQ==","spanId":"Ag==","parentSpanId":"Aw=="}]}]}]}}`).Trace(t.Context(), "1")
	if err != nil || tr.Spans[0].SpanID != "0000000000000002" || tr.Spans[0].ParentID != "0000000000000003" {
		t.Errorf("got %v, %v", tr, err)
	}
}

// TestTracesAreReadAsProtobufIfTheyCanBe has stores that answer in both formats, or in one.
func TestTracesAreReadAsProtobufIfTheyCanBe(t *testing.T) {
	field := func(number protowire.Number, value string) string {
		return string(protowire.AppendString(protowire.AppendTag(nil, number, protowire.BytesType), value))
	}
	trace := func(name string) string {
		return field(1, field(1, field(2, field(2, field(2, "12345678")+field(5, name)))))
	}
	const inJSON = `{"trace":{"resourceSpans":[{"scopeSpans":[{"spans":[{"spanId":"AAAAAAAAAAE=","name":"in JSON"}]}]}]},"status":"PARTIAL"}`
	partly := "\x18\x01" // status 1
	for name, test := range map[string]struct{ protobuf, json, want string }{
		"whole":                      {trace("name"), "", "name "},
		"a part":                     {trace("name") + partly, "", "name The store sent only part of this trace."},
		"a part, with the reason":    {trace("name") + partly + field(4, "too large"), "", "name too large"},
		"with what is new":           {trace("name") + field(2, "metrics") + field(99, "new"), "", "name "},
		"with text that is no UTF-8": {trace("\xff"), inJSON, "in JSON The store sent only part of this trace."},
		"cut off":                    {trace("name")[:9], "<html>", "the answer is not Tempo's"},
		"none":                       {field(1, ""), "", "trace not found"},
		"by a store without it":      {"", inJSON, "in JSON The store sent only part of this trace."},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body := test.json
			if r.Header.Get("Accept") == "application/protobuf" && test.protobuf != "" {
				w.Header().Set("Content-Type", "application/protobuf")
				body = test.protobuf
			}
			_, _ = io.WriteString(w, body)
		}))
		got := ""
		if tr, err := (&tempo.Client{URL: s.URL}).Trace(t.Context(), id); err != nil {
			got = err.Error()
		} else {
			got = tr.Spans[0].Name + " " + tr.Partial
		}
		if !strings.Contains(got, test.want) {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
		s.Close()
	}
}

func TestUnknownTraceIsErrNotFound(t *testing.T) {
	for name, c := range map[string]*tempo.Client{
		"the collector":         serve(t),
		"an empty object":       answer(t, 200, `{"trace":{},"metrics":{}}`),
		"no trace at all":       answer(t, 200, `{}`),
		"a 404, as version one": answer(t, 404, ``),
	} {
		if _, err := c.Trace(t.Context(), id); !errors.Is(err, tempo.ErrNotFound) || !strings.Contains(err.Error(), id) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestSpansInACircleAllAppear(t *testing.T) {
	const circle = `{"trace":{"resourceSpans":[{"scopeSpans":[{"spans":[
		{"spanId":"AAAAAAAAAAE=","parentSpanId":"AAAAAAAAAAI=","name":"a","startTimeUnixNano":"1"},
		{"spanId":"AAAAAAAAAAI=","parentSpanId":"AAAAAAAAAAE=","name":"b","startTimeUnixNano":"2"},
		{"spanId":"AAAAAAAAAAM=","parentSpanId":"AAAAAAAAAAM=","name":"own parent","startTimeUnixNano":"3"},
		{"spanId":"AAAAAAAAAAQ=","parentSpanId":"AAAAAAAAAAI=","name":"below"}]}]}]}}`
	tr, err := answer(t, 200, circle).Trace(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, s := range tr.Spans {
		got += fmt.Sprintf("%s, %d below. ", s.Name, len(s.Children))
	}
	if got != "b, 2 below. below, 0 below. a, 0 below. own parent, 0 below. " {
		t.Errorf("got %s", got)
	}
}

func TestSummaries(t *testing.T) {
	const found = `{"traces":[
		{"traceID":"a1b2c3d4e5f60718","rootServiceName":"shop","rootTraceName":"GET","startTimeUnixNano":"1500000000","durationMs":12,"new":1,
		 "serviceStats":{"__proto__":{"spanCount":2,"errorCount":1},"":{"spanCount":1}}},
		{"traceID":"1","rootServiceName":"<root span not yet received>"},
		{"traceID":"2","rootServiceName":"<root span not yet received>","rootTraceName":"of nobody","startTimeUnixNano":7}],"metrics":{}}`
	got, err := answer(t, 200, found).Summaries(t.Context(), nil)
	want := []tempo.Summary{
		{ID: shortID, HasRoot: true, Service: "shop", Name: "GET", Start: time.Unix(1, 5e8), Duration: 12 * time.Millisecond,
			Services: map[string]tempo.Stats{"__proto__": {Spans: 2, Errors: 1}, "": {Spans: 1}}},
		{ID: traceid.Pad("1", 32), Start: time.Unix(0, 0)},
		{ID: traceid.Pad("2", 32), HasRoot: true, Name: "of nobody", Start: time.Unix(0, 7)},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
}

func TestErrorsSayWhatIsWrongAndWhatToDo(t *testing.T) {
	dead := httptest.NewServer(nil)
	dead.Close()
	late, cancel := context.WithCancel(t.Context())
	cancel()
	trace := func(c *tempo.Client, id string) error {
		_, err := c.Trace(t.Context(), id)
		return err
	}
	search := func(c *tempo.Client, q url.Values) error {
		_, err := c.Summaries(t.Context(), q)
		return err
	}
	for _, test := range []struct {
		name string
		err  error
		want []string
	}{
		{"nobody listens", (&tempo.Client{URL: dead.URL}).Ready(t.Context()), []string{dead.URL, "start it", "refused"}},
		{"no URL", (&tempo.Client{URL: "127.0.0.1:3200"}).Ready(t.Context()), []string{"127.0.0.1:3200", "http://"}},
		{"not ready", answer(t, 503, "\nIngester not ready: waiting\nmore").Ready(t.Context()), []string{"/ready", "503", "waiting"}},
		{"a server error", trace(answer(t, 500, "<html>\nmore"), id), []string{"/api/v2/traces/" + id, "500 Internal Server Error", "<html>"}},
		{"a server error without words", trace(answer(t, 500, ""), id), []string{"500"}},
		{"no trace id", trace(serve(t), "xyz"), []string{`"xyz"`, "32 hexadecimal digits"}},
		{"an empty trace id", trace(serve(t), ""), []string{"32 hexadecimal digits"}},
		{"no JSON", trace(answer(t, 200, "<html>"), id), []string{"not Tempo's"}},
		{"an id that is not base64", trace(answer(t, 200, `{"trace":{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"n","spanId":"?"}]}]}]}}`), id), []string{"not Tempo's", "line 1", "spanId"}},
		{"a search without JSON", search(answer(t, 200, "<html>"), nil), []string{"not Tempo's"}},
		{"a search of something else", search(answer(t, 200, `{"status":"ok"}`), nil), []string{"not Tempo's", "no traces"}},
		{"a trace that is null", search(answer(t, 200, `{"traces":[null]}`), nil), []string{"not Tempo's", "trace id"}},
		{"a query that the collector cannot answer", search(serve(t), url.Values{"q": {"{name=1}"}}), []string{"400", "this collector answers { } and"}},
	} {
		for _, want := range test.want {
			if test.err == nil || !strings.Contains(test.err.Error(), want) {
				t.Errorf("%s: got %v, want %q in it", test.name, test.err, want)
			}
		}
	}
	secret := answer(t, 500, "")
	secret.URL = strings.Replace(secret.URL, "://", "://user:hunter2@", 1)
	if err := trace(secret, id); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a password: got %v", err)
	}
	if err := serve(t).Ready(late); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
	if err := serve(t).Ready(t.Context()); err != nil {
		t.Errorf("ready: got %v", err)
	}
}

func FuzzTrace(f *testing.F) {
	f.Add([]byte(`{"trace":{"resourceSpans":[{"scopeSpans":[{"spans":[{"spanId":"AAAAAAAAAAE=","parentSpanId":"AAAAAAAAAAI="}]}]}]}}`))
	f.Add([]byte(`{"trace":null}`))
	f.Add([]byte("\x0a\x0e\x0a\x0c\x12\x0a\x12\x08\x12\x06123456\x18\x01"))
	var body []byte
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", r.Header.Get("Accept")) // first it is protobuf, and if it is none, JSON
		_, _ = w.Write(body)
	}))
	f.Cleanup(s.Close)
	c := &tempo.Client{URL: s.URL}
	f.Fuzz(func(t *testing.T, b []byte) {
		body = b
		tr, err := c.Trace(t.Context(), id)
		if err != nil {
			return
		}
		for i, s := range tr.Spans {
			if s.Parent != nil && !slices.Contains(tr.Spans[:i], s.Parent) {
				t.Fatalf("span %d comes before its parent", i)
			}
		}
	})
}
