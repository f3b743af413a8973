package ledger

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"example.com/grafana-tempo-go-demo/demo/header"
	"example.com/grafana-tempo-go-demo/demo/term"
	"example.com/grafana-tempo-go-demo/demo/traceid"
)

var update = flag.Bool("update", false, "write the golden files anew instead of comparing with them")

// describe is a request in short: its outcome, its hops, and what is not tied to it.
func describe(r Request) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s", r.Outcome)
	for _, h := range r.Hops {
		fmt.Fprintf(&b, " | %s>%s %s", h.From, h.To, h.Action)
	}
	if r.Lost != "" {
		fmt.Fprintf(&b, " | and after %s nobody knows", r.Lost)
	}
	return b.String()
}

type scenario struct {
	name string
	add  func(*Ledger)
	want []string // newest first
}

// scenarios are what can become of a context. Each is also a part of testdata/scenarios.golden.
var scenarios = []scenario{
	{"the instrumented pair continues", func(l *Ledger) {
		l.AddLine("uservice3", requestLine(1, jaegerHeader(traceA, span(2)), traceA, span(3)))
		l.AddLine("uservice4", requestLine(10, jaegerHeader(traceA, span(4)), traceA, span(5)))
		l.AddLine("uservice3", answeredLine(40, 200, traceA, span(3)))
		r := gatewayRecord(0, "uservice3", traceA, nil, uber(traceA+":"+span(2)+":0:1"))
		r.TraceResponse = "00-" + traceA + "-" + span(3) + "-01"
		l.AddProxy(r)
	}, []string{"whole | client>gateway started | gateway>uservice3 continued | uservice3>uservice4 continued"}},

	{"the plain pair drops", func(l *Ledger) {
		l.AddLine("uservice1", requestLine(1, jaegerHeader(traceA, span(2)), "", ""))
		l.AddLine("uservice2", requestLine(10, nil, "", ""))
		l.AddProxy(gatewayRecord(0, "uservice1", traceA, nil, uber(traceA+":"+span(2)+":0:1")))
	}, []string{"unknown | ?>uservice2 not-received", "ended | client>gateway started | gateway>uservice1 dropped | and after uservice1 nobody knows"}},

	{"a client sends its own context", func(l *Ledger) {
		l.AddLine("uservice4", requestLine(1, jaegerHeader(traceA, span(2)), traceA, span(3)))
		l.AddProxy(gatewayRecord(0, "uservice4", traceA, uber(traceA+":"+span(9)+":0:1"), uber(traceA+":"+span(2)+":0:1")))
	}, []string{"whole | client>gateway continued | gateway>uservice4 continued"}},

	{"a client sends nonsense", func(l *Ledger) {
		l.AddLine("uservice4", requestLine(1, jaegerHeader(traceA, span(2)), traceA, span(3)))
		l.AddProxy(gatewayRecord(0, "uservice4", traceA, uber("\x1b[31m:"), uber(traceA+":"+span(2)+":0:1")))
	}, []string{"cut | client>gateway ignored-malformed | gateway>uservice4 continued"}},

	{"the sampled flag is 0", func(l *Ledger) {
		headers := map[string]string{header.UberTraceID: traceA + ":" + span(2) + ":0:0"}
		l.AddLine("uservice4", requestLine(1, headers, traceA, span(3)))
		l.AddProxy(gatewayRecord(0, "uservice4", traceA, uber(traceA+":"+span(9)+":0:0"), uber(headers[header.UberTraceID])))
	}, []string{"whole | client>gateway continued | gateway>uservice4 continued"}},

	{"the proxy drops the header", func(l *Ledger) {
		l.AddLine("uservice3", requestLine(1, nil, traceB, span(3)))
		l.AddLine("uservice4", requestLine(10, jaegerHeader(traceB, span(4)), traceB, span(5)))
		r := gatewayRecord(0, "uservice3", traceA, nil, nil)
		r.TraceResponse = "00-" + traceB + "-" + span(3) + "-01"
		l.AddProxy(r)
	}, []string{"cut | client>gateway started | gateway>uservice3 not-received | uservice3>uservice4 continued"}},

	{"the proxy drops the header for a plain service", func(l *Ledger) {
		l.AddLine("uservice1", requestLine(1, nil, "", ""))
		l.AddProxy(gatewayRecord(0, "uservice1", traceA, nil, nil))
	}, []string{"untraced | client>uservice1 not-received | and after uservice1 nobody knows", "cut | client>gateway started | gateway>uservice1 not-received"}},

	{"the proxy drops the header for the plain pair", func(l *Ledger) {
		l.AddLine("uservice1", requestLine(1, throughProxy, "", ""))
		l.AddLine("uservice2", requestLine(10, nil, "", ""))
		l.AddProxy(gatewayRecord(0, "uservice1", traceA, nil, nil))
	}, []string{
		"unknown | ?>uservice2 not-received", "unknown | gateway>uservice1 not-received | and after uservice1 nobody knows",
		"cut | client>gateway started | gateway>uservice1 not-received",
	}},

	{"the proxy drops the headers of two plain requests at once", func(l *Ledger) {
		for i, id := range []string{traceA, traceB} {
			l.AddLine("uservice1", requestLine(1+i, throughProxy, "", ""))
			l.AddProxy(gatewayRecord(i, "uservice1", id, nil, nil))
		}
	}, []string{
		"unknown | gateway>uservice1 not-received | and after uservice1 nobody knows",
		"unknown | gateway>uservice1 not-received | and after uservice1 nobody knows",
		"cut | client>gateway started | gateway>uservice1 not-received",
		"cut | client>gateway started | gateway>uservice1 not-received",
	}},

	{"uservice3 speaks traceparent, the others uber-trace-id", func(l *Ledger) {
		l.AddLine("uservice3", requestLine(1, jaegerHeader(traceA, span(2)), traceB, span(3)))
		l.AddLine("uservice4", requestLine(10, map[string]string{header.TraceParent: "00-" + traceB + "-" + span(4) + "-01"}, traceC, span(5)))
		l.AddLine("uservice3", answeredLine(40, 200, traceB, span(3)))
		l.AddProxy(gatewayRecord(0, "uservice3", traceA, nil, uber(traceA+":"+span(2)+":0:1")))
	}, []string{"cut | client>gateway started | gateway>uservice3 ignored-format | uservice3>uservice4 ignored-format"}},

	{"the proxy mangles the header", func(l *Ledger) {
		mangled := strings.ToUpper(traceA) + ":" + span(2) + ":0:1"
		l.AddLine("uservice3", requestLine(1, map[string]string{header.UberTraceID: mangled, "x-forwarded-server": "gateway"}, traceB, span(3)))
		l.AddProxy(gatewayRecord(0, "uservice3", traceA, nil, uber(mangled)))
	}, []string{"cut | client>gateway started | gateway>uservice3 ignored-malformed"}},

	{"something changes the header on the way", func(l *Ledger) {
		l.AddLine("uservice3", requestLine(1, map[string]string{header.UberTraceID: "x"}, traceB, span(3)))
		r := gatewayRecord(0, "uservice3", traceA, nil, uber(traceA+":"+span(2)+":0:1"))
		r.TraceResponse = "00-" + traceB + "-" + span(3) + "-01"
		l.AddProxy(r)
	}, []string{"cut | client>gateway started | gateway>uservice3 ignored-malformed"}},

	{"uservice4 speaks traceparent only", func(l *Ledger) {
		l.AddLine("uservice3", requestLine(1, jaegerHeader(traceA, span(2)), traceA, span(3)))
		l.AddLine("uservice4", requestLine(10, jaegerHeader(traceA, span(4)), traceB, span(5)))
		l.AddLine("uservice3", answeredLine(40, 200, traceA, span(3)))
		l.AddProxy(gatewayRecord(0, "uservice3", traceA, nil, uber(traceA+":"+span(2)+":0:1")))
	}, []string{"cut | client>gateway started | gateway>uservice3 continued | uservice3>uservice4 ignored-format"}},

	{"uservice3 sends nothing on", func(l *Ledger) {
		l.AddLine("uservice3", requestLine(1, jaegerHeader(traceA, span(2)), traceA, span(3)))
		l.AddLine("uservice4", requestLine(10, nil, traceB, span(5)))
		l.AddLine("uservice3", answeredLine(40, 200, traceA, span(3)))
		l.AddProxy(gatewayRecord(0, "uservice3", traceA, nil, uber(traceA+":"+span(2)+":0:1")))
	}, []string{"unknown | ?>uservice4 not-received", "unknown | client>gateway started | gateway>uservice3 continued | and after uservice3 nobody knows"}},

	{"the sampled flag changes on the way", func(l *Ledger) {
		l.AddLine("uservice3", requestLine(1, map[string]string{header.UberTraceID: traceA + ":" + span(2) + ":0:0"}, traceA, span(3)))
		l.AddLine("uservice4", requestLine(10, jaegerHeader(traceA, span(4)), traceA, span(5)))
	}, []string{"whole | client>uservice3 continued | uservice3>uservice4 continued"}},

	{"uservice4 records what is not sampled", func(l *Ledger) {
		header := uber(traceA + ":" + span(2) + ":0:0")
		l.AddLine("uservice4", requestLine(1, header, traceA, span(3)))
		r := gatewayRecord(0, "uservice4", traceA, nil, header)
		r.TraceResponse = "00-" + traceA + "-" + span(3) + "-01"
		l.AddProxy(r)
	}, []string{"whole | client>gateway started | gateway>uservice4 continued"}},

	{"only what everybody ignores is not sampled", func(l *Ledger) {
		ignored := header.Headers{header.TraceParent: "00-" + traceB + "-" + span(9) + "-00"}
		both := header.Headers{header.TraceParent: ignored[header.TraceParent], header.UberTraceID: traceA + ":" + span(2) + ":0:1"}
		l.AddLine("uservice4", requestLine(1, both, traceA, span(3)))
		l.AddProxy(gatewayRecord(0, "uservice4", traceA, ignored, both))
	}, []string{"cut | client>gateway ignored-format | gateway>uservice4 continued"}},

	{"two headers name two traces", func(l *Ledger) {
		l.AddLine("uservice4", requestLine(1, map[string]string{
			header.UberTraceID: traceA + ":" + span(2) + ":0:1", header.TraceParent: "00-" + traceB + "-" + span(6) + "-01", header.Baggage: "user=1",
		}, traceB, span(3)))
	}, []string{"whole | ?>uservice4 continued"}},

	{"the direct port with a context", func(l *Ledger) {
		l.AddLine("uservice3", requestLine(1, jaegerHeader("1", span(2)), traceid.Pad("1", 32), span(3)))
		l.AddLine("uservice4", requestLine(10, jaegerHeader(traceid.Pad("1", 32), span(4)), traceid.Pad("1", 32), span(5)))
	}, []string{"whole | client>uservice3 continued | uservice3>uservice4 continued"}},

	{"the direct port without a context", func(l *Ledger) {
		l.AddLine("uservice2", requestLine(1, nil, "", ""))
		l.AddLine("uservice4", requestLine(2, nil, traceA, span(3)))
	}, []string{"unknown | ?>uservice4 not-received", "unknown | ?>uservice2 not-received"}},

	{"a service whose SDK is off passes on what it got", func(l *Ledger) {
		l.AddLine("uservice3", requestLine(1, jaegerHeader(traceA, span(2)), traceA, span(2)))
		l.AddLine("uservice4", requestLine(10, jaegerHeader(traceA, span(2)), traceA, span(5)))
		l.AddProxy(gatewayRecord(0, "uservice3", traceA, nil, uber(traceA+":"+span(2)+":0:1")))
	}, []string{"whole | client>gateway started | gateway>uservice3 continued | uservice3>uservice4 continued"}},

	{"a host that nobody knows", func(l *Ledger) {
		r := gatewayRecord(0, "nobody", traceA, nil, nil)
		r.Service, r.Left, r.Status = "", nil, 404
		l.AddProxy(r)
	}, []string{"whole | client>gateway started"}},

	{"a service that is down", func(l *Ledger) {
		r := gatewayRecord(0, "uservice3", traceA, nil, uber(traceA+":"+span(2)+":0:1"))
		r.Status = 502
		l.AddProxy(r)
	}, []string{"unknown | client>gateway started | gateway>uservice3 unknown"}},

	{"a request whose proxy has not told yet", func(l *Ledger) {
		headers := jaegerHeader(traceA, span(2))
		headers["x-forwarded-server"] = "gateway"
		l.AddLine("uservice3", requestLine(1, headers, traceA, span(3)))
	}, []string{"whole | gateway>uservice3 continued"}},

	{"two traces interleaved", func(l *Ledger) {
		l.AddLine("uservice3", requestLine(1, jaegerHeader(traceA, span(2)), traceA, span(3)))
		l.AddLine("uservice3", requestLine(2, jaegerHeader(traceB, span(12)), traceB, span(13)))
		l.AddLine("uservice4", requestLine(10, jaegerHeader(traceB, span(14)), traceB, span(15)))
		l.AddLine("uservice4", requestLine(11, jaegerHeader(traceA, span(4)), traceA, span(5)))
		l.AddProxy(gatewayRecord(1, "uservice3", traceB, nil, uber(traceB+":"+span(12)+":0:1")))
		l.AddProxy(gatewayRecord(0, "uservice3", traceA, nil, uber(traceA+":"+span(2)+":0:1")))
	}, []string{
		"whole | client>gateway started | gateway>uservice3 continued | uservice3>uservice4 continued",
		"whole | client>gateway started | gateway>uservice3 continued | uservice3>uservice4 continued",
	}},

	{"two requests of the same trace at once", func(l *Ledger) {
		for i := range 2 {
			l.AddLine("uservice3", requestLine(1+i, jaegerHeader(traceA, span(2+i)), traceA, span(10+i)))
			l.AddLine("uservice4", requestLine(20+i, jaegerHeader(traceA, span(20+i)), traceA, span(30+i)))
			l.AddProxy(gatewayRecord(i, "uservice3", traceA, uber(traceA+":"+span(9)+":0:1"), uber(traceA+":"+span(2+i)+":0:1")))
		}
	}, []string{
		"whole | ?>uservice4 continued", "whole | ?>uservice4 continued",
		"whole | client>gateway continued | gateway>uservice3 continued",
		"whole | client>gateway continued | gateway>uservice3 continued",
	}},

	{"two plain requests at once", func(l *Ledger) {
		for i, id := range []string{traceA, traceB} {
			l.AddLine("uservice1", requestLine(1+i, jaegerHeader(id, span(2)), "", ""))
			l.AddLine("uservice2", requestLine(20+i, nil, "", ""))
			l.AddProxy(gatewayRecord(i, "uservice1", id, nil, uber(id+":"+span(2)+":0:1")))
		}
	}, []string{
		"unknown | ?>uservice2 not-received", "unknown | ?>uservice2 not-received",
		"ended | client>gateway started | gateway>uservice1 dropped | and after uservice1 nobody knows",
		"ended | client>gateway started | gateway>uservice1 dropped | and after uservice1 nobody knows",
	}},
}

// throughProxy are headers that only a proxy adds.
var throughProxy = map[string]string{"x-forwarded-server": "gateway"}

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
		})
	}
}

// check holds a request to what is true of each.
func check(t *testing.T, l *Ledger, r Request) {
	t.Helper()
	for _, id := range r.Traces {
		found, err := l.Trace(strings.TrimLeft(id, "0"), 1000)
		if err != nil || !slices.ContainsFunc(found, func(f Request) bool { return reflect.DeepEqual(f, r) }) {
			t.Errorf("request %+v is not found by its trace %s: %v", r, id, err)
		}
	}
	if r.Summary == "" || r.Outcome == "" || len(r.Hops) == 0 {
		t.Errorf("request %+v lacks something", r)
	}
	for _, h := range r.Hops {
		if h.Says == "" || h.Action == "" || h.Left.Source == "" || h.Arrived.Source == "" || h.Left.Headers == nil || h.Arrived.Headers == nil {
			t.Errorf("hop %+v lacks something", h)
		}
	}
}

func compare(t *testing.T, name, got string) {
	t.Helper()
	golden := filepath.Join("testdata", name)
	for _, line := range strings.Split(got, "\n") {
		if len(line) > term.DefaultWidth || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r > '~' }) || strings.TrimRight(line, " ") != line {
			t.Errorf("no line for a terminal: %q", line)
		}
	}
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what is printed; run go test with -update and look at the difference; now:\n%s", golden, got)
	}
}

const (
	traceA = "4bf92f3577b34da6a3ce929d0e0e4736"
	traceB = "0af7651916cd43dd8448eb211c80319c"
	traceC = "1bf7651916cd43dd8448eb211c80319c"
	span1  = "00f067aa0ba902b7"
)
