package live

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/e2e/internal/testbed"
)

// TestTraceOverHTTPArrives: OTLP over HTTP is a way in, in every stack.
func TestTraceOverHTTPArrives(t *testing.T) {
	s, receiver := testbed.Shared(t), os.Getenv("E2E_OTLP_HTTP_URL")
	if s.Demo != nil {
		receiver = s.Demo.OTLPHTTP
	}
	if receiver == "" {
		t.Skip("E2E_OTLP_HTTP_URL does not say where the stack that is up takes spans")
	}
	id, now := newTraceID(), time.Now()
	body := fmt.Sprintf(`{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name",
		"value":{"stringValue":"otlp-http"}}]},"scopeSpans":[{"spans":[{"traceId":%q,"spanId":%q,"name":"over_http",
		"kind":1,"startTimeUnixNano":"%d","endTimeUnixNano":"%d"}]}]}]}`,
		id, id[16:], now.Add(-time.Millisecond).UnixNano(), now.UnixNano())
	res, err := http.Post(receiver+"/v1/traces", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("the receiver answers %s", res.Status)
	}
	var trace *tempo.Trace
	if !testbed.Poll(t, func(ctx context.Context) bool {
		trace, err = s.Tempo.Trace(ctx, id)
		return err == nil && len(trace.Spans) == 1
	}) {
		t.Fatalf("the trace %s is %+v: %v", id, trace, err)
	}
	if root := trace.Spans[0]; root.Service != "otlp-http" || root.Name != "over_http" {
		t.Errorf("the span is %s of %s", root.Name, root.Service)
	}
}
