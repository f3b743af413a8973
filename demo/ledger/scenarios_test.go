package ledger

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"example.com/grafana-tempo-go-demo/demo/header"
)

// describe is a request in short: its outcome and its hops.
func describe(r Request) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s", r.Outcome)
	for _, h := range r.Hops {
		fmt.Fprintf(&b, " | %s>%s %s", h.From, h.To, h.Action)
	}
	return b.String()
}

const (
	started3, started1 = "client>gateway started | gateway>uservice3 ", "client>gateway started | gateway>uservice1 "
	continued4         = " | uservice3>uservice4 continued"
)

// scenarios are what can become of a context.
var scenarios = []struct {
	name string
	add  func(*Ledger)
	want []string // newest first
	says []string // what the newest says, in its summary and of its hops
}{
	{"the instrumented pair continues", func(l *Ledger) {
		l.AddLine("uservice3", requestLine(1, uber(traceA, 2), traceA, span(3)))
		l.AddLine("uservice4", requestLine(10, uber(traceA, 4), traceA, span(5)))
		l.AddLine("uservice3", answeredLine(40, 200, traceA, span(3)))
		l.AddProxy(answeredAs(gatewayRecord(0, "uservice3", traceA, uber(traceA, 2)), traceA))
	}, []string{"whole | " + started3 + "continued" + continued4}, []string{"It is one trace.", "gateway started a trace: no trace id arrived.",
		"uservice3 continued the trace: its span's parent is the one named in uber-trace-id."}},

	{"the plain pair drops", func(l *Ledger) {
		l.AddLine("uservice1", requestLine(1, uber(traceA, 2), "", ""))
		l.AddProxy(gatewayRecord(0, "uservice1", traceA, uber(traceA, 2)))
	}, []string{"ended | " + started1 + "dropped"}, []string{"The trace ends at uservice1, which dropped it.",
		"uservice1 dropped the trace: without instrumentation, a service neither reads the header nor sends it on. " +
			"So nothing ties what uservice1 calls to this request."}},

	{"nothing says what the plain pair's second request belongs to", func(l *Ledger) {
		for i, id := range []string{traceA, traceB} {
			l.AddLine("uservice1", requestLine(1+i, uber(id, 2), "", ""))
			l.AddLine("uservice2", requestLine(20+i, nil, "", ""))
			l.AddProxy(gatewayRecord(i, "uservice1", id, uber(id, 2)))
		}
	}, []string{"unknown | ?>uservice2 not-received", "unknown | ?>uservice2 not-received",
		"ended | " + started1 + "dropped", "ended | " + started1 + "dropped"},
		[]string{"No trace id arrived at uservice2, so nobody can say which request led to this one."}},

	{"a client sends its own context", func(l *Ledger) {
		l.AddLine("uservice4", requestLine(1, uber(traceA, 2), traceA, span(3)))
		l.AddProxy(asked(gatewayRecord(0, "uservice4", traceA, uber(traceA, 2)), uber(traceA, 9)))
	}, []string{"whole | client>gateway continued | gateway>uservice4 continued"}, nil},

	{"a client sends nonsense", func(l *Ledger) {
		l.AddLine("uservice4", requestLine(1, uber(traceA, 2), traceA, span(3)))
		l.AddProxy(asked(gatewayRecord(0, "uservice4", traceA, uber(traceA, 2)), header.Headers{header.UberTraceID: "\x1b[31m:"}))
	}, []string{"cut | client>gateway ignored-malformed | gateway>uservice4 continued"}, []string{"The trace is cut before gateway.",
		"gateway ignored what arrived and started trace " + traceA + ". uber-trace-id is malformed: want trace:span:parent:flags, "}},

	{"the sampled flag is 0", func(l *Ledger) {
		l.AddLine("uservice4", requestLine(1, unsampled(traceA, 2), traceA, span(3)))
		l.AddProxy(asked(gatewayRecord(0, "uservice4", traceA, unsampled(traceA, 2)), unsampled(traceA, 9)))
	}, []string{"whole | client>gateway continued | gateway>uservice4 continued"}, []string{
		"It is one trace. Where its header is not sampled, services that obey the flag record no span.", "uservice4 continued the trace in uber-trace-id, which is not sampled."}},

	{"the sampled flag changes on the way", func(l *Ledger) {
		l.AddLine("uservice3", requestLine(1, unsampled(traceA, 2), traceA, span(3)))
		l.AddLine("uservice4", requestLine(10, uber(traceA, 4), traceA, span(5)))
	}, []string{"whole | client>uservice3 continued" + continued4}, []string{" Where its header is not sampled, "}},

	{"only what everybody ignores is not sampled", func(l *Ledger) {
		ignored := header.Headers{header.TraceParent: "00-" + traceB + "-" + span(9) + "-00"}
		both := header.Headers{header.TraceParent: ignored[header.TraceParent], header.UberTraceID: traceA + ":" + span(2) + ":0:1"}
		l.AddLine("uservice4", requestLine(1, both, traceA, span(3)))
		l.AddProxy(asked(gatewayRecord(0, "uservice4", traceA, both), ignored))
	}, []string{"cut | client>gateway ignored-format | gateway>uservice4 continued"}, []string{"The trace is cut before gateway.\n",
		"gateway ignored traceparent and started trace " + traceA + ": it reads another format; see its OTEL_PROPAGATORS."}},

	{"the proxy drops the header", func(l *Ledger) {
		l.AddLine("uservice3", requestLine(1, nil, traceB, span(3)))
		l.AddLine("uservice4", requestLine(10, uber(traceB, 4), traceB, span(5)))
		l.AddProxy(answeredAs(gatewayRecord(0, "uservice3", traceA, nil), traceB))
	}, []string{"cut | " + started3 + "not-received" + continued4}, []string{"The trace is cut before uservice3.",
		"uservice3 received no trace id, and started trace " + traceB + ". gateway was in a trace, but sent no header for it."}},

	{"the proxy drops the header for a plain service", func(l *Ledger) {
		l.AddLine("uservice1", requestLine(1, through(nil), "", ""))
		l.AddProxy(gatewayRecord(2, "uservice1", traceA, nil))
	}, []string{"cut | " + started1 + "not-received", "unknown | gateway>uservice1 not-received"}, []string{
		"No header left gateway, so nobody can say which of the requests that uservice1 logged is this one."}},

	{"the proxy mangles the header", func(l *Ledger) {
		mangled := header.Headers{header.UberTraceID: strings.ToUpper(traceA) + ":" + span(2) + ":0:1"}
		l.AddLine("uservice3", requestLine(1, through(mangled), traceB, span(3)))
		l.AddProxy(gatewayRecord(0, "uservice3", traceA, mangled))
	}, []string{"cut | " + started3 + "ignored-malformed"}, []string{"lower-case hexadecimal, with ids of up to 32 and 16 digits that are not all 0. gateway sent it like that."}},

	{"something changes the header on the way", func(l *Ledger) {
		l.AddLine("uservice3", requestLine(1, header.Headers{header.UberTraceID: "x"}, traceB, span(3)))
		l.AddProxy(answeredAs(gatewayRecord(0, "uservice3", traceA, uber(traceA, 2)), traceB))
	}, []string{"cut | " + started3 + "ignored-malformed"}, []string{"not all 0.\n"}},

	{"uservice3 speaks traceparent, the others uber-trace-id", func(l *Ledger) {
		l.AddLine("uservice3", requestLine(1, uber(traceA, 2), traceB, span(3)))
		l.AddLine("uservice4", requestLine(10, header.Headers{header.TraceParent: "00-" + traceB + "-" + span(4) + "-01"}, traceC, span(5)))
		l.AddProxy(gatewayRecord(0, "uservice3", traceA, uber(traceA, 2)))
	}, []string{"cut | " + started3 + "ignored-format | uservice3>uservice4 ignored-format"}, []string{"The trace is cut before uservice3, and again before uservice4."}},

	{"uservice3 sends nothing on", func(l *Ledger) {
		l.AddLine("uservice3", requestLine(1, uber(traceA, 2), traceA, span(3)))
		l.AddLine("uservice4", requestLine(0, nil, traceB, span(5)))
		l.AddLine("uservice3", answeredLine(40, 200, traceA, span(3)))
		l.AddProxy(gatewayRecord(3, "uservice3", traceA, uber(traceA, 2)))
	}, []string{"unknown | " + started3 + "continued", "unknown | ?>uservice4 not-received"}, []string{"Nobody can say what uservice3 called next.",
		" uservice4 answered it, and nobody can say which of the requests that it logged is this one."}},

	{"the direct port without a context", func(l *Ledger) {
		l.AddLine("uservice1", requestLine(1, nil, "", ""))
		l.AddLine("uservice3", requestLine(2, nil, traceA, span(3)))
	}, []string{"whole | client>uservice3 started", "untraced | client>uservice1 not-received"}, []string{"It is one trace."}},

	{"a service whose SDK is off passes on what it got", func(l *Ledger) {
		l.AddLine("uservice3", requestLine(1, uber(traceA, 2), traceA, span(2)))
		l.AddLine("uservice4", requestLine(10, uber(traceA, 2), traceA, span(5)))
		l.AddProxy(gatewayRecord(0, "uservice3", traceA, uber(traceA, 2)))
	}, []string{"whole | " + started3 + "continued" + continued4}, []string{"uservice3 continued the trace in uber-trace-id, and made no span of its own."}},

	{"a host that nobody knows", func(l *Ledger) {
		r := gatewayRecord(0, "nobody", traceA, nil)
		r.Service, r.Left, r.Status = "", nil, 404
		l.AddProxy(r)
	}, []string{"whole | client>gateway started"}, nil},

	{"a service that is down", func(l *Ledger) {
		l.AddProxy(gatewayRecord(0, "uservice3", traceA, uber(traceA, 2)))
	}, []string{"unknown | " + started3 + "unknown"}, []string{"uservice3 logged no request that only this one can be: it was not reached"}},

	{"two traces interleaved, and their lines in disorder", func(l *Ledger) {
		for i, id := range []string{traceA, traceB} {
			l.AddProxy(gatewayRecord(i, "uservice3", id, uber(id, 2)))
			l.AddLine("uservice4", requestLine(11-i, uber(id, 4), id, span(15-i)))
			l.AddLine("uservice3", requestLine(1+i, uber(id, 2), id, span(3+i)))
		}
	}, []string{"whole | " + started3 + "continued" + continued4, "whole | " + started3 + "continued" + continued4}, nil},

	{"two requests of one trace after another", func(l *Ledger) {
		for i := range 2 {
			l.AddLine("uservice3", requestLine(100*i+1, through(uber(traceA, 9)), traceA, span(10+i)))
			l.AddLine("uservice4", requestLine(100*i+20, uber(traceA, 20+i), traceA, span(30+i)))
			r := gatewayRecord(100*i, "uservice3", traceA, nil)
			r.Left = nil // as Traefik logs it
			l.AddProxy(r)
		}
	}, []string{"whole | " + started3 + "continued" + continued4, "whole | " + started3 + "continued" + continued4}, nil},

	{"two requests of one trace at once", func(l *Ledger) {
		for i := range 2 {
			l.AddLine("uservice3", requestLine(1+i, uber(traceA, 2+i), traceA, span(10+i)))
			l.AddLine("uservice4", requestLine(20+i, uber(traceA, 20+i), traceA, span(30+i)))
			l.AddLine("uservice3", answeredLine(40+i, 200, traceA, span(10+i)))
			l.AddProxy(gatewayRecord(i, "uservice3", traceA, uber(traceA, 2+i)))
		}
	}, []string{"whole | ?>uservice4 continued", "whole | ?>uservice4 continued",
		"unknown | " + started3 + "continued", "unknown | " + started3 + "continued"}, nil},

	{"the kernel writes a header of its own trace", func(l *Ledger) {
		l.AddLine("uservice1", requestLine(1, uber(traceA, 2), "", ""))
		l.AddLine("uservice2", requestLine(10, header.Headers{header.TraceParent: "00-" + traceA + "-" + span(7) + "-01"}, "", ""))
	}, []string{"ended | ?>uservice2 dropped", "ended | client>uservice1 dropped"}, nil},
}

func answeredAs(r Record, traceID string) Record {
	r.TraceResponse = "00-" + traceID + "-" + span(3) + "-01"
	return r
}

func asked(r Record, headers header.Headers) Record {
	r.Arrived = headers
	return r
}

func unsampled(traceID string, n int) header.Headers {
	return header.Headers{header.UberTraceID: traceID + ":" + span(n) + ":0:0"}
}

func TestScenarios(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			l := New(DefaultMaxRecords)
			s.add(l)
			found := l.Recent(10)
			var got []string
			for _, r := range found {
				got = append(got, describe(r))
				check(t, l, r)
			}
			if !slices.Equal(got, s.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(s.want, "\n"))
			}
			told := found[0].Summary + "\n"
			for _, h := range found[0].Hops {
				told += h.Says + "\n"
			}
			for _, want := range s.says {
				if !strings.Contains(told, want) {
					t.Errorf("it does not say %q:\n%s", want, told)
				}
			}
		})
	}
}

// check holds a request to what is true of each.
func check(t *testing.T, l *Ledger, r Request) {
	t.Helper()
	for _, id := range r.Traces {
		found, _, err := l.Trace(strings.TrimLeft(id, "0"), 1000)
		if err != nil || !slices.ContainsFunc(found, func(f Request) bool { return reflect.DeepEqual(f, r) }) {
			t.Errorf("request %+v is not found by its trace %s: %v", r, id, err)
		}
	}
	if r.Summary == "" || r.Outcome == "" || len(r.Hops) == 0 {
		t.Errorf("request %+v lacks something", r)
	}
	for _, h := range r.Hops {
		if h.Says == "" || h.Action == "" {
			t.Errorf("hop %+v lacks something", h)
		}
	}
}
