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

// The spans of requests that end as they should are in the golden traces of e2e/live.

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
	if !strings.Contains(tree, "http.response.status_code=499") || !strings.Contains(tree, "client redis_call: Error db.operation.name=GET db.system.name=redis error.type=") {
		t.Errorf("spans:\n%s", tree)
	}
}
