package stack

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/grafana-tempo-go-demo/demo/collector"
	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/tempo"
)

// The steps and the mistake of the last exercise in docs/lab.md.
func TestTraceOnItsWayToTraceparent(t *testing.T) {
	const jaeger, both, w3c = "jaeger", "tracecontext,jaeger", "tracecontext"
	for _, tc := range []struct {
		name                          string
		gateway, uservice3, uservice4 string
		carried                       string // what arrives at uservice3, and at uservice4
		traces                        int
	}{
		{"step 1", jaeger, jaeger, both, "uber-trace-id, uber-trace-id", 1},
		{"step 2", jaeger, both, both, "uber-trace-id, uber-trace-id traceparent", 1},
		{"step 3", w3c, both, both, "traceparent, uber-trace-id traceparent", 1},
		{"step 4", w3c, w3c, both, "traceparent, traceparent", 1},
		{"step 5", w3c, w3c, w3c, "traceparent, traceparent", 1},
		{"the gateway reads and writes both", both, both, both, "uber-trace-id traceparent, uber-trace-id traceparent", 1},
		{"the mistake", jaeger, w3c, jaeger, "uber-trace-id, traceparent", 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, _ := startReal(t, func(o *Options) {
				o.Propagators = map[string]string{"gateway": tc.gateway, "uservice3": tc.uservice3, "uservice4": tc.uservice4}
			})
			if _, _, _, err := s.ask(t.Context(), "uservice3"); err != nil {
				t.Fatal(err)
			}
			var r ledger.Request
			eventually(func() bool {
				if recent := s.Ledger().Recent(1); len(recent) == 1 {
					r = recent[0]
				}
				return len(r.Hops) == 3
			})
			var carried []string
			for _, h := range r.Hops[1:] {
				var names []string
				for _, header := range h.Arrived.Headers {
					names = append(names, header.Name)
				}
				carried = append(carried, strings.Join(names, " "))
			}
			if got := strings.Join(carried, ", "); len(r.Traces) != tc.traces || got != tc.carried {
				t.Errorf("%d traces, carried by %s:\n%s", len(r.Traces), got, hops(r))
			}
		})
	}
}

func TestPropagatorsOfTheGateway(t *testing.T) {
	for list, want := range map[string]string{
		"": "uber-trace-id", "none": "", " TraceContext , JAEGER": "traceparent tracestate uber-trace-id", "baggage": "baggage",
		"jaeger, b4": "error", "none,jaeger": "error", "jaeger,": "error",
	} {
		p, err := gatewayPropagator(list)
		if err != nil {
			if want != "error" || !strings.Contains(err.Error(), "OTEL_PROPAGATORS=") || !strings.Contains(err.Error(), "jaeger, tracecontext and baggage") {
				t.Errorf("%q: %v", list, err)
			}
		} else if got := strings.Join(slices.Sorted(slices.Values(p.Fields())), " "); got != want {
			t.Errorf("%q: the gateway writes %q, want %q", list, got, want)
		}
	}
}

// The gateway is told of no trouble that the services would not have: it answers while its
// collector is away, and sends what it has when there is one again.
func TestGatewayOutlivesItsCollector(t *testing.T) {
	o, _, _ := options(t, "")
	s := start(t, o)
	if err := s.collector.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case d := <-s.Deaths():
		if d.Part != "collector" {
			t.Errorf("%+v", d)
		}
	case <-time.After(10 * time.Second):
		t.Error("nobody noticed")
	}
	var ids []string
	for end := time.Now().Add(400 * time.Millisecond); time.Now().Before(end); { // more than one export
		status, body := get(t, s.URLs().Gateway, "uservice3.localhost")
		if status != http.StatusOK {
			t.Fatalf("answered %d", status)
		}
		id, _, _ := strings.Cut(strings.TrimPrefix(strings.Fields(body)[1], "trace="), ":")
		ids = append(ids, id)
	}
	var l net.Listener
	waitFor(t, "port of the collector", func() (ok bool) {
		var err error
		l, err = net.Listen("tcp", s.URLs().OTLPGRPC)
		return err == nil
	})
	again := collector.New(slog.New(slog.DiscardHandler))
	go again.ServeGRPC(l)
	defer again.Shutdown(context.Background())
	api := http.Server{Handler: again.APIHandler()}
	door, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go api.Serve(door)
	defer api.Close()
	client := &tempo.Client{URL: "http://" + door.Addr().String()}
	for _, id := range ids {
		waitFor(t, "trace of what was answered meanwhile", func() bool {
			tr, err := client.Trace(t.Context(), id)
			return err == nil && len(tr.Spans) == 2
		})
	}
	if err := s.Stop(context.Background()); err != nil {
		t.Error(err)
	}
}
