package resilience

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"

	"example.com/grafana-tempo-go-demo/e2e/internal/testbed"
)

// link is the network between the services and the back end: a proxy that a test can disturb.
type link struct{ *toxiproxy.Proxy }

func newLink(t *testing.T, upstream string) link {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	l := link{toxiproxy.NewProxy(server, "backend", "127.0.0.1:0", upstream)}
	if err := l.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Stop)
	return l
}

// addToxic disturbs one direction: "upstream" is from the services to the back end, "downstream" is
// back. The kinds and their attributes are those of https://github.com/Shopify/toxiproxy#toxics.
func (l link) addToxic(t *testing.T, stream, kind string, attributes map[string]int) {
	t.Helper()
	text, err := json.Marshal(map[string]any{"name": kind, "type": kind, "stream": stream, "attributes": attributes})
	if err == nil {
		_, err = l.Toxics.AddToxicJson(strings.NewReader(string(text)))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// restore removes all toxics and connects the services to the back end again.
func (l link) restore(t *testing.T) {
	t.Helper()
	l.Toxics.ResetToxics(t.Context())
	l.Stop()
	// The listener's port may stay in use for a moment.
	if !testbed.Poll(t, func(context.Context) bool { return l.Start() == nil }) {
		t.Fatalf("cannot listen on %s again", l.Listen)
	}
}

// Whatever the back end does, requests are answered as usual; and spans that an outage of seconds
// held back are sent after it.
func TestAnswersDoNotWaitForTheBackEnd(t *testing.T) {
	start := time.Now()
	b := newBackend(t)
	l := newLink(t, b.addr)
	s := startStack(t, map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://" + l.Listen})
	client := newClient(t)
	for _, tc := range []struct {
		name    string
		disturb func(*testing.T)
	}{
		{"as it should be", func(*testing.T) {}},
		{"gone", func(*testing.T) { l.Stop() }},
		{"slow", func(t *testing.T) {
			l.addToxic(t, "downstream", "latency", map[string]int{"latency": 1000, "jitter": 500})
		}},
		{"taking a kilobyte a second", func(t *testing.T) { l.addToxic(t, "upstream", "bandwidth", map[string]int{"rate": 1}) }},
		{"resetting connections", func(t *testing.T) { l.addToxic(t, "downstream", "reset_peer", map[string]int{"timeout": 0}) }},
		{"accepting connections and saying nothing", func(t *testing.T) { l.addToxic(t, "downstream", "timeout", map[string]int{"timeout": 0}) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.disturb(t)
			var mu sync.Mutex
			var ids []string
			var slowest time.Duration
			var all sync.WaitGroup
			// Long enough for exports to be tried: every 200 ms.
			end := time.Now().Add(500 * time.Millisecond)
			for range 4 {
				all.Go(func() {
					for pace := time.Tick(20 * time.Millisecond); time.Now().Before(end); <-pace {
						a, err := s.visit(t.Context(), client, "uservice3", "")
						if err != nil || a.status != http.StatusOK {
							t.Errorf("answered %d, %v", a.status, err)
							return
						}
						mu.Lock()
						ids = append(ids, a.trace)
						slowest = max(slowest, a.took)
						mu.Unlock()
					}
				})
			}
			all.Wait()
			// A request that waited for an export would take up to 10 s, the export's timeout.
			if slowest > 5*time.Second {
				t.Errorf("the slowest answer took %s", slowest)
			}
			l.restore(t)
			b.waitForSpans(t, 5, ids...)
			t.Logf("%d answers, the slowest after %s", len(ids), slowest)
		})
	}
	for _, service := range []string{"uservice3", "uservice4"} {
		if lines, minutes := s.loggedLines(service, "does not reach the back end"), time.Since(start).Minutes(); len(lines) > 1+int(minutes) {
			t.Errorf("%s says so %d times in %.1f minutes, want once a minute at most", service, len(lines), minutes)
		}
	}
}

// slowBackend receives spans over OTLP/gRPC, waits before it accepts each batch, and counts.
type slowBackend struct {
	coltracepb.UnimplementedTraceServiceServer
	pause          time.Duration
	spans, batches atomic.Int64
}

func (b *slowBackend) Export(ctx context.Context, req *coltracepb.ExportTraceServiceRequest) (*coltracepb.ExportTraceServiceResponse, error) {
	select {
	case <-time.After(b.pause):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for _, resource := range req.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			b.spans.Add(int64(len(scope.GetSpans())))
		}
	}
	b.batches.Add(1)
	return &coltracepb.ExportTraceServiceResponse{}, nil
}

// The queue and the batches are large enough for 5,000 requests (25,000 spans) a second and a back
// end that takes 50 ms for each batch. A slow machine sends fewer requests a second.
func TestNoSpanIsLostAtFiveThousandRequestsASecond(t *testing.T) {
	const requests, perSecond, connections, spansEach = 15_000, 5_000, 64, 5
	b := &slowBackend{pause: 50 * time.Millisecond}
	server := grpc.NewServer()
	coltracepb.RegisterTraceServiceServer(server, b)
	l := listen(t)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	s := startStack(t, map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://" + l.Addr().String()})
	client := newClient(t)

	start := time.Now()
	var next atomic.Int64
	var all sync.WaitGroup
	for range connections {
		all.Go(func() {
			for n := next.Add(1); n <= requests && !t.Failed(); n = next.Add(1) {
				<-time.After(time.Until(start.Add(time.Duration(n) * time.Second / perSecond)))
				a, err := ask(t.Context(), client, s.urls.Services["uservice3"], "uservice3")
				if err != nil || a.status != http.StatusOK {
					t.Errorf("answered %d, %v", a.status, err)
					return
				}
			}
		})
	}
	all.Wait()
	rate := requests / time.Since(start).Seconds()
	if !testbed.Poll(t, func(context.Context) bool { return b.spans.Load() >= requests*spansEach }) || b.spans.Load() > requests*spansEach {
		t.Errorf("%d spans arrived, want %d", b.spans.Load(), requests*spansEach)
	}
	s.checkNoneDropped(t)
	t.Logf("%.0f requests a second, %d spans in %d batches", rate, b.spans.Load(), b.batches.Load())
}
