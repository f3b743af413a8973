package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestSpans(t *testing.T) {
	for name, test := range map[string]struct {
		target   string
		upstream int
		want     string
	}{
		"a success": {target: "/", upstream: 200, want: `
server handle_incoming_call: Ok http.request.method=GET http.response.status_code=200 url.path=/ url.scheme=http
  event Request decoded! happened=true
  client redis_call: Ok db.operation.name=GET db.system.name=redis test-attribute-1=test-values-1
  client other_uservice_call: Unset http.request.method=GET http.response.status_code=200
    event Got response! http.response.status_code=200 traceresponse=00-answer
`},
		"Redis fails": {target: "/?fail=redis", want: `
server handle_incoming_call: Error http.request.method=GET http.response.status_code=500 url.path=/ url.scheme=http
  event Request decoded! happened=true
  event exception exception.message=redis: connection refused, as ?fail=redis asked for exception.type=*errors.errorString
  client redis_call: Error db.operation.name=GET db.system.name=redis error.type=*errors.errorString test-attribute-1=test-values-1
    event exception exception.message=redis: connection refused, as ?fail=redis asked for exception.type=*errors.errorString
`},
		"the other service fails": {target: "/?fail=database", upstream: 500, want: `
server handle_incoming_call: Error http.request.method=GET http.response.status_code=502 url.path=/ url.scheme=http
  event Request decoded! happened=true
  event exception exception.message=other service: answered 500 Internal Server Error exception.type=*errors.errorString
  client redis_call: Ok db.operation.name=GET db.system.name=redis test-attribute-1=test-values-1
  client other_uservice_call: Error error.type=500 http.request.method=GET http.response.status_code=500
    event Got response! http.response.status_code=500 traceresponse=00-answer
`},
		"a wish that nobody can fulfil": {target: "/?fail=disk", want: `
server handle_incoming_call: Unset http.request.method=GET http.response.status_code=400 url.path=/ url.scheme=http
`},
	} {
		t.Run(name, func(t *testing.T) {
			spans := record(t)
			var propagated string
			upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				propagated = r.Header.Get("uber-trace-id")
				w.Header().Set("traceresponse", "00-answer")
				w.WriteHeader(test.upstream)
			}))
			defer upstream.Close()
			request(t, newServiceFor(upstream.URL, io.Discard), test.target, "")
			if tree := describe(spans.GetSpans()); tree != test.want[1:] {
				t.Errorf("spans:\n%swant:%s", tree, test.want)
			}
			want := ""
			for _, span := range spans.GetSpans() {
				if span.Name == "other_uservice_call" {
					want = span.SpanContext.TraceID().String() + ":" + span.SpanContext.SpanID().String() + ":0:1"
				}
			}
			if propagated != want {
				t.Errorf("propagated %q, want %q", propagated, want)
			}
		})
	}
}

func TestAnUpstreamThatIsDownIsExplainedByItsSpan(t *testing.T) {
	spans := record(t)
	stopped := httptest.NewServer(nil)
	stopped.Close()
	res := request(t, newServiceFor(stopped.URL, io.Discard), "/", "")
	tree := describe(spans.GetSpans())
	if res.Code != http.StatusBadGateway || !strings.Contains(tree, "client other_uservice_call: Error") || !strings.Contains(tree, "connection refused") {
		t.Errorf("answered %d, spans:\n%s", res.Code, tree)
	}
}

func TestACallerWhoHangsUpIsSeenInTheSpans(t *testing.T) {
	spans := record(t)
	s := newServiceFor("http://127.0.0.1:9", io.Discard)
	s.redis.min, s.redis.max = time.Hour, time.Hour
	ctx, hangUp := context.WithTimeout(t.Context(), time.Millisecond)
	defer hangUp()
	s.handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
	tree := describe(spans.GetSpans())
	if !strings.Contains(tree, "http.response.status_code=499") || !strings.Contains(tree, "client redis_call: Error") {
		t.Errorf("spans:\n%s", tree)
	}
}
