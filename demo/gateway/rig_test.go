package gateway

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/contrib/propagators/jaeger"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"example.com/grafana-tempo-go-demo/demo/ledger"
)

// rig is a gateway in front of one upstream, with everything recorded.
type rig struct {
	url   string
	gw    *Gateway
	spans *tracetest.SpanRecorder
	logs  *safeBuffer
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newRig(t *testing.T, upstream http.Handler) *rig {
	t.Helper()
	up := httptest.NewServer(upstream)
	t.Cleanup(up.Close)
	return newRigTo(t, up.URL)
}

func newRigTo(t *testing.T, upstream string) *rig {
	t.Helper()
	u, err := url.Parse(upstream)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{spans: tracetest.NewSpanRecorder(), logs: &safeBuffer{}}
	provider := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.AlwaysSample())), sdktrace.WithSpanProcessor(r.spans))
	t.Cleanup(func() { _ = provider.Shutdown(context.Background()) })
	r.gw = New(Options{
		Routes:         map[string]*url.URL{"uservice3.localhost": u, "uservice1.localhost": u},
		TracerProvider: provider,
		Propagator:     jaeger.Jaeger{},
		Logger:         slog.New(slog.NewJSONHandler(r.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Record:         func(ledger.Record) {},
	})
	front := httptest.NewServer(r.gw)
	t.Cleanup(front.Close)
	r.url = front.URL
	return r
}

// get asks for a path under a host name and returns the answer with its body.
func (r *rig) get(t *testing.T, host, path string, header http.Header) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, r.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	for name, values := range header {
		req.Header[name] = values
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

// ended waits for n spans: a handler may still be running when its client has the answer.
func (r *rig) ended(t *testing.T, n int) []sdktrace.ReadOnlySpan {
	t.Helper()
	waitFor(t, fmt.Sprintf("%d spans", n), func() bool { return len(r.spans.Ended()) >= n })
	spans := r.spans.Ended()
	if len(spans) != n {
		t.Fatalf("got %d spans, want %d", len(spans), n)
	}
	return spans
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("no %s within 5 s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func attr(s sdktrace.ReadOnlySpan, key string) attribute.Value {
	for _, kv := range s.Attributes() {
		if string(kv.Key) == key {
			return kv.Value
		}
	}
	return attribute.Value{}
}
