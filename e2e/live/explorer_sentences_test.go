package live

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"example.com/grafana-tempo-go-demo/e2e/internal/testbed"
)

// said is what a page must and must not say in one state.
type said struct {
	yes, no []string
}

// judge waits until the elements of a selector say everything that they must, and nothing that they
// must not: some of it is true for a while.
func (p *page) judge(selector string, s said) {
	p.t.Helper()
	text := fmt.Sprintf(`[...document.querySelectorAll(%q)].map((e) => e.innerText).join("\n")`, selector)
	for _, want := range s.yes {
		p.until(fmt.Sprintf("%s.includes(%q)", text, want))
	}
	for _, wrong := range s.no {
		p.until(fmt.Sprintf("!%s.includes(%q)", text, wrong))
	}
}

const (
	story    = ".story"
	headline = ".l-request > .note"
)

// demoOfItsOwn starts a demo for a test that breaks it, which would disturb the other tests.
func demoOfItsOwn(t *testing.T, args ...string) *testbed.Demo {
	t.Helper()
	d, err := testbed.Start(args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // after the pages are closed
		if err := d.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return d
}

// withFault turns one fault on and all others off, and opens the page.
func withFault(t *testing.T, browser context.Context, address, fault string) *page {
	t.Helper()
	res, err := http.Post(address+"/api/faults", "application/json", strings.NewReader(fmt.Sprintf(`{"name":%q}`, fault)))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("break %q: answered %s", fault, res.Status)
	}
	p := open(t, browser, address, 1280)
	p.until(`document.querySelector("#store.up")`)
	return p
}

// TestTheExplorerSaysNothingFalse holds what the page says in each state of a demo that runs: who was
// called, which fault is on, and what the box above the waterfall and the ledger say then.
func TestTheExplorerSaysNothingFalse(t *testing.T) {
	browser := startBrowser(t)
	d := demoOfItsOwn(t, "DATABASE_MIN=200ms", "DATABASE_MAX=200ms") // most of the time, on a busy machine too
	const otherTrace, exporter, ended, onTheWay = "is in another trace", "its exporter does not reach the trace store", "its process ended before it sent them", "on their way"
	noSpans := said{[]string{"It took part in this trace.", exporter, ended}, []string{otherTrace, onTheWay, "not sampled"}}
	whole := said{[]string{"One trace, from gateway to uservice4."}, []string{"sampled"}}
	for _, tc := range []struct {
		fault, service string
		story, ledger  said
	}{
		{"", "uservice3", said{[]string{"of the time went into"}, []string{"unexplained"}}, whole},
		{"", "uservice2", said{[]string{"Nobody outside can tell what took the time inside it."}, []string{"Redis", "failed"}},
			said{[]string{"The trace ends at uservice2"}, nil}},
		{"", "uservice1", said{[]string{"Nobody outside can tell whether Redis, uservice2 or its database took the time."}, []string{"failed"}},
			said{[]string{"The trace ends at uservice1"}, nil}},
		{"drop-header", "uservice1", said{[]string{"uservice1 is not instrumented"}, []string{"was handed"}},
			said{[]string{"The trace is cut before uservice1."}, nil}},
		{"drop-header", "uservice3", said{[]string{"uservice3 answered from another trace"}, []string{"cut in"}},
			said{[]string{"The trace is cut before uservice3."}, []string{"again"}}},
		{"malformed-header", "uservice3", said{[]string{"uservice3 answered from another trace"}, []string{"cut in"}},
			said{[]string{"The trace is cut before uservice3."}, nil}},
		{"other-format", "uservice3", said{[]string{"uservice4 answered from another trace"}, []string{"cut in"}},
			said{[]string{"The trace is cut before uservice4."}, nil}},
		{"dead-exporter", "uservice3", noSpans, whole},
		{"no-service-name", "uservice3", said{[]string{"of the time went into"}, []string{"no span of it"}}, whole},
		{"killed-before-flush", "uservice3", noSpans, whole},
		{"not-sampled", "uservice3", said{}, said{[]string{"One trace, from gateway to uservice4. It is not sampled"}, nil}},
		{"not-sampled", "uservice1", said{}, said{[]string{"The trace ends at uservice1, which dropped it. It is not sampled"}, nil}},
	} {
		t.Run(tc.fault+" "+tc.service, func(t *testing.T) {
			p := withFault(t, browser, d.Explorer, tc.fault)
			p.call(tc.service)
			first := js[string](p, "location.pathname")
			p.until(`document.querySelectorAll(".hop").length >= 2`)
			if strings.HasSuffix(tc.fault, "header") && tc.service == "uservice3" { // the answer names the other half
				p.click(".story .note:first-child a")
				p.until(fmt.Sprintf("location.pathname !== %q", first))
			}
			p.judge(story, tc.story)
			p.judge(headline, tc.ledger)
			if tc.fault == "not-sampled" {
				p.judge(".answer", said{yes: []string{"not sampled"}, no: []string{"its trace"}})
				if good := p.texts(headline + ".good"); len(good) > 0 {
					t.Errorf("praised: %q", good)
				}
			}
		})
	}

	t.Run("the traceresponse that is in the other half's event is not called unwritten", func(t *testing.T) {
		p := withFault(t, browser, d.Explorer, "drop-header")
		p.call("uservice3")
		p.click(".story .note:first-child a")
		p.until(`document.querySelectorAll(".hop").length === 3 && document.querySelector(".mystery")`)
		p.judge(".back-again", said{yes: []string{"traceresponse: 00-"}, no: []string{"not written down", "nobody recorded"}})
	})
	t.Run("who has no name has sent spans all the same", func(t *testing.T) {
		p := withFault(t, browser, d.Explorer, "no-service-name")
		p.call("uservice3")
		p.until(`document.querySelector("#list .current .t-chips")?.innerText.includes("unknown_service:uservice3")`)
		if dark := p.texts("#list .current .chip.dark"); len(dark) > 0 {
			t.Errorf("said to have no spans: %q", dark)
		}
	})
	for fault, want := range map[string]said{
		"no-service-name": {[]string{"A request like it, instrumented: uservice3"}, []string{"There is no trace of it to compare"}},
		"drop-header":     {[]string{"There is no trace of it to compare"}, []string{"instrumented: uservice3"}},
	} {
		t.Run("a whole trace is compared, whatever its services are called: "+fault, func(t *testing.T) {
			p := withFault(t, browser, d.Explorer, fault)
			slow := `void document.querySelector("input[name=slow][value=redis]").click()` // like no call of another fault
			if fault == "drop-header" {
				slow = strings.Replace(slow, "=redis", "=database", 1)
			}
			js[any](p, slow)
			p.call("uservice3")
			p.call("uservice1")
			p.until(`document.querySelector(".twin section")`)
			p.judge(".twin", want)
		})
	}
	t.Run("a failure whose beginning is missing", func(t *testing.T) {
		p := withFault(t, browser, d.Explorer, "killed-before-flush")
		js[any](p, `void document.querySelector("input[name=fail][value=database]").click()`)
		p.call("uservice3")
		p.judge(story, said{yes: []string{"other_uservice_call of uservice3 failed. No span here says where the error began."}, no: []string{"began in"}})
	})
	t.Run("a failure that nobody saw from inside", func(t *testing.T) {
		p := withFault(t, browser, d.Explorer, "")
		js[any](p, `void document.querySelector("input[name=fail][value=database]").click()`)
		p.call("uservice1")
		p.judge(story, said{yes: []string{"Nobody outside can tell whether Redis, uservice2 or its database failed, and which of them took the time."}})
		p.judge(".twin", said{yes: []string{"There is no trace of it to compare: that takes a whole one of the same request, within a minute, also answered 502."}})
	})
}
