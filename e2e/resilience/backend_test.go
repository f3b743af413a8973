package resilience

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"

	"example.com/grafana-tempo-go-demo/demo/stack"
	"example.com/grafana-tempo-go-demo/e2e/internal/testbed"
)

// way is the way from the services to the back end.
type way struct {
	*toxiproxy.Proxy
	upstream string // the back end
}

func newWay(t *testing.T, upstream string) *way {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	n := &way{toxiproxy.NewProxy(server, "backend", "127.0.0.1:0", upstream), upstream}
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Stop)
	return n
}

// leadTo has the way end at another server.
func (n *way) leadTo(t *testing.T, upstream string) {
	t.Helper()
	n.Stop()
	// The port may be somebody's for a moment.
	var err error
	for deadline := time.Now().Add(testbed.Timeout); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if err = n.Update(&toxiproxy.Proxy{Listen: n.Listen, Upstream: upstream, Enabled: true}); err == nil {
			return
		}
	}
	t.Fatal(err)
}

// poison adds a toxic to what comes back, or to what is sent.
func (n *way) poison(t *testing.T, stream, kind string, attributes map[string]int) {
	t.Helper()
	text, err := json.Marshal(map[string]any{"name": kind, "type": kind, "stream": stream, "attributes": attributes})
	if err == nil {
		_, err = n.Toxics.AddToxicJson(strings.NewReader(string(text)))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// mend makes the way whole.
func (n *way) mend(t *testing.T) {
	t.Helper()
	n.Toxics.ResetToxics(t.Context())
	n.leadTo(t, n.upstream)
}

// Whatever the back end does, a request is answered as if nothing were wrong; and what was not sent in an outage of seconds
// is sent after it.
func TestAnswersDoNotWaitForTheBackEnd(t *testing.T) {
	mute := server(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	garbage := server(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\nContent-Length: 4\r\n\r\n\x00\xff\x00\xff")
		_, _ = io.Copy(io.Discard, conn)
	})
	b := newBackend(t)
	n := newWay(t, b.addr)
	h := hold(t, map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://" + n.Listen})
	client := visitors(t)
	for _, tc := range []struct {
		name string
		harm func(*testing.T)
	}{
		{"as it should be", func(*testing.T) {}},
		{"gone", func(*testing.T) { n.Stop() }},
		{"slow", func(t *testing.T) {
			n.poison(t, "downstream", "latency", map[string]int{"latency": 1000, "jitter": 500})
		}},
		{"taking a kilobyte a second", func(t *testing.T) { n.poison(t, "upstream", "bandwidth", map[string]int{"rate": 1}) }},
		{"resetting connections", func(t *testing.T) { n.poison(t, "downstream", "reset_peer", map[string]int{"timeout": 0}) }},
		{"accepting connections and saying nothing", func(t *testing.T) { n.leadTo(t, mute.Addr().String()) }},
		{"answering garbage", func(t *testing.T) { n.leadTo(t, garbage.Addr().String()) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.harm(t)
			var mu sync.Mutex
			var ids []string
			var slowest time.Duration
			var all sync.WaitGroup
			// Long enough for exports to be tried: every 200 ms.
			end := time.Now().Add(500 * time.Millisecond)
			for range 4 {
				all.Go(func() {
					for pace := time.Tick(20 * time.Millisecond); time.Now().Before(end); <-pace {
						a, err := h.visit(t.Context(), client, "uservice3", "")
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
			// An export that stood in the way would be given up after 10 s.
			if slowest > 5*time.Second {
				t.Errorf("the slowest answer took %s", slowest)
			}
			n.mend(t)
			b.await(t, 5, ids...)
			t.Logf("%d answers, the slowest after %s", len(ids), slowest)
		})
	}
	for _, service := range []string{"uservice3", "uservice4"} {
		if lines := h.logged(service, "does not reach the back end"); len(lines) > 1 {
			t.Errorf("%s says so %d times within a minute", service, len(lines))
		}
	}
}

// A back end that does not answer holds up the stop no longer than a flush may take, and is no reason for it to fail.
func TestStopDoesNotWaitLongForTheBackEnd(t *testing.T) {
	t.Parallel()
	mute := server(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	h := hold(t, map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://" + mute.Addr().String()}, func(o *stack.Options) {
		o.Services = slices.DeleteFunc(stack.Services(), func(s stack.Service) bool { return s.Name != "uservice4" })
	})
	client := visitors(t)
	for range 10 {
		if a, err := h.visit(t.Context(), client, "uservice4", ""); err != nil || a.status != http.StatusOK {
			t.Fatalf("answered %d, %v", a.status, err)
		}
	}
	client.CloseIdleConnections()
	start := time.Now()
	if err := h.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	// It gives up after 5 s; what is killed is killed after stack.Grace.
	if took := time.Since(start); took > stack.Grace {
		t.Errorf("it took %s", took)
	} else {
		t.Logf("it took %s", took)
	}
}

// slowBackend takes spans over OTLP/gRPC, thinks about each batch for a while, and counts.
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

// The queue and the batches are large enough for 5,000 requests a second, 25,000 spans, to a back end that takes 50 ms for
// each batch. A machine that cannot make as many gets as many as it can.
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
	h := hold(t, map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://" + l.Addr().String()})
	client := visitors(t)

	start := time.Now()
	var next atomic.Int64
	var all sync.WaitGroup
	for range connections {
		all.Go(func() {
			for n := next.Add(1); n <= requests && !t.Failed(); n = next.Add(1) {
				<-time.After(time.Until(start.Add(time.Duration(n) * time.Second / perSecond)))
				a, err := ask(t.Context(), client, h.urls.Services["uservice3"], "uservice3")
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
	h.lostNone(t)
	t.Logf("%.0f requests a second, %d spans in %d batches", rate, b.spans.Load(), b.batches.Load())
}
