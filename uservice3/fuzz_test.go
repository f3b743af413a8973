package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"unicode/utf8"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// roundTrip stands in for the network between this service and the other one.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// newFuzzedService returns a service that calls next instead of the network, with its
// instrumentation between the two.
func newFuzzedService(logs io.Writer, next roundTrip) *service {
	s := newService(config{traceLink: "http://localhost/{trace_id}", serviceConfig: serviceConfig{upstream: "http://127.0.0.1:9", redis: mock{name: "redis"}}},
		slog.New(withTelemetry(slog.NewJSONHandler(logs, nil))))
	s.client.Transport = otelhttp.NewTransport(next, spanName("other_uservice_call")...)
	return s
}

func ok(r *http.Request) *http.Response {
	return &http.Response{StatusCode: http.StatusOK, Status: "200 OK", Body: http.NoBody, Request: r}
}

// FuzzPropagationHeader sends whatever may stand in a propagation header through the instrumented
// handler, on to the other service. The reader of each format is on, and what one of them makes of
// the header must not harm the rest.
func FuzzPropagationHeader(f *testing.F) {
	const id, span = "0123456789abcdef0123456789abcdef", "1111111111111111"
	for _, header := range [][4]string{
		{id + ":" + span + ":0:1", "", "", ""},
		{"0123456789abcdef:" + span + ":0:0", "", "", ""},
		{strings.ToUpper(id) + ":" + span + ":0:1", "00-" + id + "-" + span + "-01", "a=1,b@c=2", "a=1,b=2;p"},
		{":::", "00---", "=", ","}, {"%3A", "ff-" + id + "-" + span + "-ff", "a=\xff", "%zz=%00"},
		{id + ":" + span + ":0:99999999999999999999", "00-" + strings.Repeat("0", 32) + "-" + span + "-01", strings.Repeat("a=1,", 40), strings.Repeat("a=1,", 200)},
		{"", "00-" + id + "-" + span + "-02", "", ""}, {id + ":" + span + ":0:1", "00-" + id + "-" + span + "-03", "", ""},
		{"<script>:1:0:1", "00-<b>", "\"><img>", "a=<script>"}, {strings.Repeat(":", 1<<10), strings.Repeat("-", 1<<10), "", "a=" + strings.Repeat("x", 9000)},
	} {
		f.Add(header[0], header[1], header[2], header[3])
	}
	otel.SetTextMapPropagator(newPropagator("tracecontext,baggage,jaeger"))
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(error) {})) // malformed baggage is told to it
	otel.SetTracerProvider(sdktrace.NewTracerProvider())
	response := regexp.MustCompile(`^00-([0-9a-f]{32})-[0-9a-f]{16}-0[0-3]$`) // sampled is 1, random is 2
	f.Fuzz(func(t *testing.T, uberTraceID, traceParent, traceState, baggage string) {
		var logs bytes.Buffer
		var left http.Header
		s := newFuzzedService(&logs, func(r *http.Request) (*http.Response, error) {
			left = r.Header
			return ok(r), nil
		})
		req := httptest.NewRequest(http.MethodGet, "/", nil)
		req.Header = http.Header{"Uber-Trace-Id": {uberTraceID}, "Traceparent": {traceParent}, "Tracestate": {traceState}, "Baggage": {baggage}}
		if len(uberTraceID+traceParent+traceState+baggage) > maxHeaderBytes { // net/http refuses it before any of this
			return
		}
		res := httptest.NewRecorder()
		s.handler().ServeHTTP(res, req)
		named := response.FindStringSubmatch(res.Header().Get("traceresponse"))
		if res.Code != http.StatusOK || named == nil || strings.Trim(named[1], "0") == "" {
			t.Fatalf("answered %d, traceresponse %q", res.Code, res.Header().Get("traceresponse"))
		}
		// What leaves is well formed, of the same trace, and no longer than the formats allow.
		for name, want := range map[string]string{"Uber-Trace-Id": `^` + named[1] + `:[0-9a-f]{16}:0:[013]$`, "Traceparent": `^00-` + named[1] + `-[0-9a-f]{16}-0[0-3]$`} {
			if got := left.Get(name); !regexp.MustCompile(want).MatchString(got) {
				t.Errorf("%s leaves as %q, want %s", name, got, want)
			}
		}
		if _, err := trace.ParseTraceState(left.Get("Tracestate")); err != nil || len(left.Get("Baggage")) > 8192 {
			t.Errorf("tracestate %q (%v), %d bytes of baggage", left.Get("Tracestate"), err, len(left.Get("Baggage")))
		}
		checkLogs(t, &logs)
	})
}

// FuzzQuery asks for whatever may stand in a query. Time is not real here: a wish for slowness
// costs nothing.
func FuzzQuery(f *testing.F) {
	for _, query := range []string{
		"", "fail=redis", "fail=database&slow=redis", "fail=<script>alert(1)</script>", "fail=%zz", "a=b;c=d", "fail=%3Cb%3E",
		"fail", "&&&", "slow=redis&slow=redis", "fail=redis%00", "\xff=\xff", strings.Repeat("fail=redis&", 300), "slow={{trace}}",
	} {
		f.Add(query)
	}
	otel.SetTracerProvider(sdktrace.NewTracerProvider())
	f.Fuzz(func(t *testing.T, query string) {
		synctest.Test(t, func(t *testing.T) {
			var logs bytes.Buffer
			called := false
			s := newFuzzedService(&logs, func(r *http.Request) (*http.Response, error) {
				if called = true; r.URL.RawQuery != query {
					t.Errorf("%q travels on as %q", query, r.URL.RawQuery)
				}
				return ok(r), nil
			})
			req := httptest.NewRequest(http.MethodGet, "/", nil)
			req.URL.RawQuery = query
			res := httptest.NewRecorder()
			s.handler().ServeHTTP(res, req)
			want := http.StatusOK
			if wish, err := decodeWishes(query); err != nil {
				want = http.StatusBadRequest
			} else if slices.Contains(wish["fail"], "redis") {
				want = http.StatusInternalServerError
			}
			if res.Code != want || called != (want == http.StatusOK) {
				t.Errorf("answered %d, want %d; called the other service: %t", res.Code, want, called)
			}
			checkLogs(t, &logs)
		})
	})
}

// checkLogs holds each line of the log to being one JSON object.
func checkLogs(t *testing.T, logs *bytes.Buffer) {
	t.Helper()
	for line := range bytes.Lines(logs.Bytes()) {
		if !json.Valid(line) || !utf8.Valid(line) {
			t.Errorf("no JSON: %q", line)
		}
	}
}
