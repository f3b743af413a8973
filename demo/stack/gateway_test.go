package stack

import (
	"os"
	"slices"
	"strings"
	"testing"

	"example.com/grafana-tempo-go-demo/demo/ledger"
)

// The steps and the mistake of the exercise in docs/lab.md.
func TestTraceOnItsWayToTraceparent(t *testing.T) {
	const jaeger, both, w3c = "jaeger", "tracecontext,jaeger", "tracecontext"
	for _, tc := range []struct {
		name                          string
		gateway, uservice3, uservice4 string
		carried                       string // what arrives at uservice3, and at uservice4
		traces                        int
	}{
		{"on the way", w3c, both, both, "traceparent, uber-trace-id traceparent", 1},
		{"in the end", w3c, w3c, w3c, "traceparent, traceparent", 1},
		{"the mistake", jaeger, w3c, jaeger, "uber-trace-id, traceparent", 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := options(t)
			o.Propagators = map[string]string{"gateway": tc.gateway, "uservice3": tc.uservice3, "uservice4": tc.uservice4}
			s := start(t, o)
			s.ask(t, "uservice3")
			var r ledger.Request
			soon(func() bool {
				if recent := s.Ledger().Recent(1); len(recent) == 1 {
					r = recent[0]
				}
				return len(r.Hops) == 3
			})
			var carried []string
			for _, h := range r.Hops[1:] {
				var names []string
				for _, header := range h.Arrived {
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

// TestABadByteCostsTheGatewayNoSpan has one in the command line, which all spans name, and in a request.
func TestABadByteCostsTheGatewayNoSpan(t *testing.T) {
	t.Cleanup(func() { os.Args = os.Args[:len(os.Args)-1] })
	os.Args = append(os.Args, "\xff")
	s := start(t, options(t))
	header := get(t, s.URLs().Gateway+"/?a=%ff", "uservice3.localhost").Header.Get("traceresponse")
	id := strings.Split(header+"--", "-")[1]
	waitFor(t, "span of the gateway", func() bool { return strings.Contains(s.shape(t.Context(), id), "gateway ReverseProxy") })
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
