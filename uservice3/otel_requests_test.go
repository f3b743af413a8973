package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// request asks the service for target with a propagation header, which may be empty.
func request(t *testing.T, s *service, target, uberTraceID string) *httptest.ResponseRecorder {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	if uberTraceID != "" {
		req.Header.Set("uber-trace-id", uberTraceID)
	}
	res := httptest.NewRecorder()
	s.handler().ServeHTTP(res, req)
	return res
}

// TestByHand does what otelhttp does for a handler and a transport; docs/commentary.md shows it.
func TestByHand(t *testing.T) {
	record(t)
	const header = "4bf92f3577b34da6a3ce929d0e0e4736:00f067aa0ba902b7:0:1"
	in := http.Header{"Uber-Trace-Id": {header}}
	out := http.Header{}
	ctx := otel.GetTextMapPropagator().Extract(t.Context(), propagation.HeaderCarrier(in))
	ctx, span := otel.Tracer(scopeName).Start(ctx, "by hand", trace.WithSpanKind(trace.SpanKindServer))
	defer span.End()
	otel.GetTextMapPropagator().Inject(ctx, propagation.HeaderCarrier(out))
	want := strings.Replace(header, "00f067aa0ba902b7", span.SpanContext().SpanID().String(), 1)
	if got := out.Get("uber-trace-id"); got != want || got == header {
		t.Errorf("%s leaves as %s, want %s", header, got, want)
	}
}

func TestThePropagationHeaderIsRead(t *testing.T) {
	const traceID, parentID = "0123456789abcdef0123456789abcdef", "1111111111111111"
	for name, test := range map[string]struct {
		header  string
		traceID string // empty: a trace of its own
		sampled bool
	}{
		"sampled":              {header: traceID + ":" + parentID + ":0:1", traceID: traceID, sampled: true},
		"debug":                {header: traceID + ":" + parentID + ":0:3", traceID: traceID, sampled: true},
		"not sampled":          {header: traceID + ":" + parentID + ":0:0", traceID: traceID},
		"64-bit ids":           {header: "0123456789abcdef:" + parentID + ":0:1", traceID: "0000000000000000" + "0123456789abcdef", sampled: true},
		"missing":              {sampled: true},
		"malformed":            {header: "what:is:this:1", sampled: true},
		"an all-zero trace id": {header: strings.Repeat("0", 32) + ":" + parentID + ":0:1", sampled: true},
		"upper case":           {header: strings.ToUpper(traceID) + ":" + parentID + ":0:1", sampled: true},
	} {
		t.Run(name, func(t *testing.T) {
			spans := record(t)
			res := request(t, newServiceFor("http://127.0.0.1:9", io.Discard), "/nowhere", test.header)
			parts := strings.Split(res.Header().Get("traceresponse"), "-")
			if len(parts) != 4 || test.traceID != "" && parts[1] != test.traceID || test.traceID == "" && strings.Contains(test.header, parts[1]) {
				t.Fatalf("traceresponse is %q, want trace id %q", parts, test.traceID)
			}
			if sampled := parts[3] == "01"; sampled != test.sampled || sampled != (len(spans.GetSpans()) > 0) {
				t.Errorf("traceresponse flags %s with %d spans, want sampled %t", parts[3], len(spans.GetSpans()), test.sampled)
			}
			if !test.sampled {
				if !strings.Contains(res.Body.String(), "not sampled") {
					t.Errorf("page: %s", res.Body)
				}
				return
			}
			span := spans.GetSpans()[0]
			if remote := span.Parent.IsRemote(); remote != (test.traceID != "") || remote && span.Parent.SpanID().String() != parentID {
				t.Errorf("parent is %v", span.Parent)
			}
		})
	}
}
