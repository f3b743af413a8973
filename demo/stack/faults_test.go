package stack

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"example.com/grafana-tempo-go-demo/demo/lab"
	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/tempo"
)

const (
	gatewaySpans   = "gateway GET\n gateway ReverseProxy"
	uservice3Spans = "uservice3 handle_incoming_call\n uservice3 redis_call\n uservice3 other_uservice_call"
	uservice4Spans = "uservice4 handle_incoming_call\n uservice4 database_call"

	wholeLedger = "client -> gateway: - started\ngateway -> uservice3: uber-trace-id continued\nuservice3 -> uservice4: uber-trace-id continued\nwhole"
)

// below indents spans by as many levels.
func below(levels int, spans string) string {
	indent := strings.Repeat(" ", levels)
	return indent + strings.ReplaceAll(spans, "\n", "\n"+indent)
}

var wholeTrace = gatewaySpans + "\n" + below(2, uservice3Spans) + "\n" + below(4, uservice4Spans)

// symptoms are what a request for uservice3 leaves under each fault.
var symptoms = map[string]struct {
	traces []string // in the order of the ledger
	named  int      // which of them traceresponse names
	ledger string
	page   string   // what the page says instead of the trace's id
	says   []string // of the symptom's text, what is checked here, further to the numbers and what it quotes
}{
	"drop-header": {
		traces: []string{gatewaySpans, uservice3Spans + "\n" + below(2, uservice4Spans)},
		named:  1,
		ledger: "client -> gateway: - started\ngateway -> uservice3: - not-received\nuservice3 -> uservice4: uber-trace-id continued\ncut",
		says:   []string{"two traces", "2 spans", "5 spans", "uservice3 has NOT RECEIVED"},
	},
	"malformed-header": {
		traces: []string{gatewaySpans, uservice3Spans + "\n" + below(2, uservice4Spans)},
		named:  1,
		ledger: "client -> gateway: - started\ngateway -> uservice3: uber-trace-id ignored-malformed\nuservice3 -> uservice4: uber-trace-id continued\ncut",
		says:   []string{"two traces", "2 spans", "5 spans", "IGNORED MALFORMED"},
	},
	"not-sampled": {
		traces: []string{""},
		ledger: "client -> gateway: - started\ngateway -> uservice3: uber-trace-id unsampled continued\n" +
			"uservice3 -> uservice4: uber-trace-id unsampled continued\nwhole",
		page: "not sampled",
		says: []string{"0 spans", "ends with 00", "CONTINUED", "the trace is whole", "sampled flag 0"},
	},
	"other-format": {
		traces: []string{gatewaySpans + "\n" + below(2, uservice3Spans), uservice4Spans},
		ledger: "client -> gateway: - started\ngateway -> uservice3: uber-trace-id continued\nuservice3 -> uservice4: uber-trace-id ignored-format\ncut",
		says:   []string{"two traces", "5 spans", "2 spans", "IGNORED FORMAT"},
	},
	"dead-exporter": {
		traces: []string{gatewaySpans + "\n" + uservice4Spans},
		ledger: wholeLedger,
		says:   []string{"4 spans of 7", "ledger is whole", "CONTINUED"},
	},
	"no-service-name": {
		traces: []string{strings.ReplaceAll(wholeTrace, "uservice3", "unknown_service:uservice3")},
		ledger: wholeLedger,
		says:   []string{"7 spans", "three of them belong to unknown_service:uservice3", "ledger is whole"},
	},
	"killed-before-flush": {
		traces: []string{gatewaySpans + "\n" + below(2, uservice3Spans)},
		ledger: wholeLedger,
		says:   []string{"5 spans of 7", "ledger is whole", "CONTINUED"},
	},
}

// quoted finds what a symptom's text quotes of a log line.
var quoted = regexp.MustCompile(`log says "([^"]+)"`)

func TestEachFaultShowsItsSymptomAndIsMended(t *testing.T) {
	s := start(t, options(t))
	f := s.Faults()
	for _, fault := range lab.Faults() {
		t.Run(fault.Name, func(t *testing.T) {
			want, ok := symptoms[fault.Name]
			if !ok {
				t.Fatal("there is no test of it")
			}
			for _, text := range want.says {
				if !strings.Contains(fault.Symptom, text) {
					t.Errorf("its symptom does not say %q: %s", text, fault.Symptom)
				}
			}
			before := len(s.logs())
			if err := f.Set(fault.Name); err != nil {
				t.Fatal(err)
			}
			if f.State().Active != fault.Name {
				t.Errorf("active is %q", f.State().Active)
			}
			r := s.judge(t, want.traces, want.named, want.ledger, want.page)
			if m := quoted.FindStringSubmatch(fault.Symptom); m != nil {
				said := regexp.MustCompile("(?m)^uservice3 .*" + regexp.QuoteMeta(m[1]))
				waitFor(t, "line "+m[1], func() bool { return said.MatchString(s.logs()[before:]) })
			}
			switch fault.Name {
			case "killed-before-flush":
				waitFor(t, "second new start of uservice4", func() bool { return strings.Join(startedAgain(s.logs()[before:]), " ") == "uservice4 uservice4" })
			case "other-format":
				tr, err := (&tempo.Client{URL: s.URLs().Tempo}).Trace(t.Context(), r.Traces[0])
				if err != nil {
					t.Fatal(err)
				}
				i := slices.IndexFunc(tr.Spans, func(span *tempo.Span) bool { return span.Name == "other_uservice_call" })
				if events := tr.Spans[i].Events; len(events) != 1 || !strings.Contains(fmt.Sprint(events[0].Attributes["traceresponse"]), r.Traces[1]) {
					t.Errorf("the events of other_uservice_call do not name the second trace: %+v", events)
				}
			case "malformed-header":
				if value := r.Hops[1].Arrived[0].Value; strings.Count(value, "%3A") != 3 {
					t.Errorf("what arrived is %q", value)
				}
			}

			// Mending stops the services in order, so that whatever they still had to send is there
			// afterwards.
			if err := f.Set(""); err != nil {
				t.Fatal(err)
			}
			if f.State().Active != "" {
				t.Errorf("active is %q", f.State().Active)
			}
			s.judge(t, []string{wholeTrace}, 0, wholeLedger, "")
			for i, id := range r.Traces {
				if got := s.shape(t.Context(), id); got != want.traces[i] {
					t.Errorf("in the end, trace %d is\n%s", i+1, got)
				}
			}
		})
	}
	if len(symptoms) != len(lab.Faults()) {
		t.Errorf("%d faults are tested, and there are %d", len(symptoms), len(lab.Faults()))
	}
	select {
	case d := <-s.Deaths():
		t.Errorf("%+v", d)
	default:
	}
	if err := s.Stop(context.Background()); err != nil {
		t.Error(err)
	}
}

// judge sends a request for uservice3, waits for its traces and its entry in the ledger, and
// returns the latter.
func (s *Stack) judge(t *testing.T, traces []string, named int, hopsWanted, pageSays string) ledger.Request {
	t.Helper()
	a := s.ask(t, "uservice3")
	response, page := a.Header.Get("traceresponse"), a.page
	parts := strings.Split(response, "-")
	if len(parts) != 4 {
		t.Fatalf("traceresponse %q", response)
	}
	id, flags := parts[1], parts[3]
	if pageSays == "" {
		pageSays = "/trace/" + id
	}
	if sampled := traces[0] != ""; !strings.Contains(page, pageSays) || sampled != (flags == "01") {
		t.Errorf("flags %s, and the page says\n%s", flags, page)
	}
	var r ledger.Request
	got := ""
	soon(func() bool {
		found, _, err := s.Ledger().Trace(id, 2)
		if err != nil || len(found) != 1 {
			got = fmt.Sprintf("%d entries in the ledger, %v", len(found), err)
			return false
		}
		r = found[0]
		got = hops(r)
		return got == hopsWanted
	})
	if got != hopsWanted {
		t.Fatalf("the ledger has\n%s\nwant\n%s", got, hopsWanted)
	}
	if len(r.Traces) != len(traces) || r.Traces[named] != id {
		t.Fatalf("the ledger has the traces %q, traceresponse is %s", r.Traces, response)
	}
	for i, want := range traces {
		soon(func() bool { got = s.shape(t.Context(), r.Traces[i]); return got == want })
		if got != want {
			t.Errorf("trace %d is\n%s\nwant\n%s", i+1, got, want)
		}
	}
	return r
}
