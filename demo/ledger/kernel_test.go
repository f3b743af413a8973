package ledger

import (
	"strings"
	"testing"

	"example.com/grafana-tempo-go-demo/demo/header"
)

const (
	kernelsTrace = "0af7651916cd43dd8448eb211c80319c"
	otherTrace   = "4bf92f3577b34da6a3ce929d0e0e4736"
)

func traceParent(traceID, spanID string) map[string]string {
	return map[string]string{header.TraceParent: "00-" + traceID + "-" + spanID + "-01"}
}

// handedOn has a request whose trace the kernel handed on from uservice1 to uservice2.
func handedOn() *Ledger {
	both := jaegerHeader(kernelsTrace, span(2))
	both[header.TraceParent] = traceParent(kernelsTrace, span(2))[header.TraceParent]
	l := New(10)
	l.AddProxy(gatewayRecord(0, "uservice1", kernelsTrace, nil, both))
	l.AddLine("uservice1", requestLine(1, both, "", ""))
	l.AddLine("uservice2", requestLine(10, traceParent(kernelsTrace, span(7)), "", ""))
	return l
}

func TestTheKernelHandsATraceOn(t *testing.T) {
	l := handedOn()
	requests := l.Recent(10)
	if len(requests) != 1 || len(requests[0].Hops) != 3 || len(requests[0].Untied) != 0 {
		t.Fatalf("%d requests: %+v", len(requests), requests)
	}
	r := requests[0]
	if want := "One trace, from gateway to uservice1; the kernel passed it on to uservice2."; r.Outcome != Whole || r.Summary != want {
		t.Errorf("%s: %s, want %s", r.Outcome, r.Summary, want)
	}
	first, second := r.Hops[1], r.Hops[2]
	if first.Action != Watched || first.Kernel || first.TraceResponse != nil || !strings.Contains(first.Says, "itself neither read the header nor wrote the next one") {
		t.Errorf("uservice1: %s: %s", first.Action, first.Says)
	}
	if second.From != "uservice1" || second.Action != NoAction || !second.Kernel || !strings.HasPrefix(second.Says, "The kernel wrote this header (eBPF)") {
		t.Errorf("uservice2: %s: %s", second.Action, second.Says)
	}
}

func TestTheKernelBeginsATraceOfItsOwn(t *testing.T) {
	l := New(10)
	l.AddProxy(gatewayRecord(0, "uservice1", kernelsTrace, nil, jaegerHeader(kernelsTrace, span(2))))
	l.AddLine("uservice1", requestLine(1, jaegerHeader(kernelsTrace, span(2)), "", ""))
	l.AddLine("uservice2", requestLine(10, traceParent(otherTrace, span(7)), "", ""))
	for _, id := range []string{kernelsTrace, otherTrace} { // both traces lead to the request
		requests, err := l.Trace(id, 10)
		if err != nil || len(requests) != 1 || len(requests[0].Untied) != 1 {
			t.Fatalf("%v, %d requests: %+v", err, len(requests), requests)
		}
		hop := requests[0].Untied[0]
		if !hop.Kernel || !strings.Contains(hop.Says, "uservice1 writes no header: if uservice1 sent it, the kernel wrote the header (eBPF)") {
			t.Errorf("%s", hop.Says)
		}
		var text strings.Builder
		if err := Fprint(&text, requests); err != nil || !strings.Contains(text.String(), "because no trace id of it\n") {
			t.Errorf("%v\n%s", err, &text)
		}
	}
}

// TestARequestThatCallsNobody is what its log lines leave open: the trace may have spans of it.
func TestARequestThatCallsNobody(t *testing.T) {
	l := handedOn()
	failed := traceParent(otherTrace, span(2))
	l.AddProxy(gatewayRecord(100, "uservice1", otherTrace, nil, failed))
	l.AddLine("uservice1", requestLine(101, failed, "", ""))
	r := l.Recent(1)[0]
	if hop := r.Hops[1]; hop.Action != NoAction || r.Outcome != Unknown || !strings.Contains(hop.Says, "only the trace tells") {
		t.Errorf("%s: %s: %s", r.Summary, hop.Action, hop.Says)
	}
}

// TestTheKernelIsNotBlamed has requests whose headers somebody else wrote.
func TestTheKernelIsNotBlamed(t *testing.T) {
	for name, lines := range map[string]func(*Ledger){
		"a caller from outside, in a trace that another service is in": func(l *Ledger) {
			l.AddLine("uservice3", requestLine(2, traceParent(otherTrace, span(3)), otherTrace, span(4)))
			l.AddLine("uservice2", requestLine(10, traceParent(otherTrace, span(7)), "", ""))
		},
		"the same header, passed on as it came": func(l *Ledger) {
			l.AddLine("uservice2", requestLine(10, jaegerHeader(kernelsTrace, span(2)), "", ""))
		},
		"both headers, of which the kernel writes one": func(l *Ledger) {
			both := jaegerHeader(otherTrace, span(7))
			both[header.TraceParent] = traceParent(otherTrace, span(7))[header.TraceParent]
			l.AddLine("uservice2", requestLine(10, both, "", ""))
		},
		"another service of the proxy's": func(l *Ledger) {
			headers := traceParent(otherTrace, span(7))
			headers["x-forwarded-server"] = "gateway"
			l.AddLine("uservice2", requestLine(10, headers, "", ""))
		},
		"after the end": func(l *Ledger) {
			l.AddLine("uservice2", requestLine(100, traceParent(kernelsTrace, span(7)), "", ""))
		},
		"an instrumented pair": func(l *Ledger) {
			l.AddLine("uservice3", requestLine(1, traceParent(otherTrace, span(2)), otherTrace, span(5)))
			l.AddLine("uservice4", requestLine(10, traceParent(otherTrace, span(7)), otherTrace, span(8)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := New(10)
			l.AddProxy(gatewayRecord(0, "uservice1", kernelsTrace, nil, jaegerHeader(kernelsTrace, span(2))))
			l.AddLine("uservice1", requestLine(1, jaegerHeader(kernelsTrace, span(2)), "", ""))
			lines(l)
			for _, r := range l.Recent(10) {
				for _, hop := range append(r.Hops, r.Untied...) {
					if hop.Kernel || hop.Action == Watched {
						t.Errorf("%s to %s: %s: %s", hop.From, hop.To, hop.Action, hop.Says)
					}
				}
			}
		})
	}
}
