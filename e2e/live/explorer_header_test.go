package live

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/grafana-tempo-go-demo/e2e/internal/testbed"
)

// says selects what the ledger says of the hop to a service.
func says(service string) string {
	return fmt.Sprintf(`[...document.querySelectorAll('.ledger .hop[data-to="%s"]:not(.loose) .hop-says')].map((e) => e.textContent).join()`, service)
}

const (
	sampledMeans = "Sampled (flag 1): the sender records its span,"
	whyNotW3C    = "Why not W3C's traceparent?"
)

// TestTheHeaderNamesItsSpan reads, in the healthy state and under each fault, whose span id the page
// says that the header carries.
func TestTheHeaderNamesItsSpan(t *testing.T) {
	browser := startBrowser(t)
	d := demoOfItsOwn(t)
	const (
		proxySpan   = "uber-trace-id carries the span id of ReverseProxy of gateway. "
		callSpan    = "uber-trace-id carries the span id of other_uservice_call of uservice3. "
		continues3  = "uservice3 continued the trace: it made the span in uber-trace-id the parent of its own."
		continues4  = "uservice4 continued the trace: it made the span in uber-trace-id the parent of its own."
		unrecorded3 = "uber-trace-id carries the id of a span of gateway that was not recorded. uservice3 continued the trace in uber-trace-id, which is not sampled."
		unrecorded4 = "uber-trace-id carries the id of a span of uservice3 that was not recorded. uservice4 continued the trace in uber-trace-id, which is not sampled."
	)
	for _, tc := range []struct {
		fault, service       string
		spans                int
		uservice3, uservice4 string // the beginning of what is said of the hops to them
	}{
		{"", "uservice3", 7, proxySpan + continues3, callSpan + continues4},
		{"drop-header", "uservice3", 5, "uservice3 received no trace id, and started trace ", callSpan + continues4},
		{"malformed-header", "uservice3", 5, "uservice3 ignored what arrived and started trace ", callSpan + continues4},
		{"not-sampled", "uservice3", 0, unrecorded3, unrecorded4},
		{"other-format", "uservice3", 5, proxySpan + continues3, callSpan + "uservice4 ignored uber-trace-id and started trace "},
		{"dead-exporter", "uservice3", 4, proxySpan + continues3, "uber-trace-id carries the id of a span of uservice3 that is not in the trace store. " + continues4},
		{"no-service-name", "uservice3", 7, proxySpan + continues3, "uber-trace-id carries the span id of other_uservice_call of unknown_service:uservice3. " + continues4},
		{"killed-before-flush", "uservice3", 5, proxySpan + continues3, callSpan + continues4},
	} {
		t.Run(tc.fault, func(t *testing.T) {
			p := withFault(t, browser, d.Explorer, tc.fault)
			p.call(tc.service)
			p.until(fmt.Sprintf(`document.querySelectorAll(".detail > .card [data-span]").length === %d`, tc.spans))
			p.until(fmt.Sprintf("%s.startsWith(%q)", says("uservice3"), tc.uservice3))
			p.until(fmt.Sprintf("%s.startsWith(%q)", says("uservice4"), tc.uservice4))
			text := js[string](p, "document.body.innerText")
			for _, once := range []string{sampledMeans, whyNotW3C} {
				if n := strings.Count(text, once); n != 1 {
					t.Errorf("%q stands there %d times", once, n)
				}
			}
			if tc.fault != "other-format" {
				return
			}
			p.click(".mystery a:not(.span-link)") // the other half knows that the span is not in it
			p.until(says("uservice4") + `.startsWith("uber-trace-id carries the id of a span of uservice3, in another trace. ")`)
			p.click(`.hop[data-to="uservice4"] .hop-says a`)
			p.until(`document.querySelector(".span-box h3")?.textContent === "other_uservice_call uservice3"`)
		})
	}
}

func TestTheHeadersSpanIsALink(t *testing.T) {
	browser := startBrowser(t)
	address := explorerOf(t)
	if testbed.Shared(t).Demo == nil {
		t.Skip("nobody keeps a ledger of a stack that is up elsewhere")
	}
	p := open(t, browser, address, 1280)
	p.call("uservice1")
	p.until(says("uservice1") + `.startsWith("uber-trace-id carries the span id of ReverseProxy of gateway. uservice1 dropped the trace")`)
	p.call("uservice3")
	p.until(says("uservice4") + `.startsWith("uber-trace-id carries the span id of other_uservice_call of uservice3. ")`)
	p.click(`.hop[data-to="uservice4"] .hop-says a`)
	p.until(`document.querySelector(".span-box h3")?.textContent === "other_uservice_call uservice3"`)
	box := `document.querySelector(".span-box").innerText.replace(/\s+/g, " ")`
	p.until(box + `.includes("in the header to handle_incoming_call of uservice4")`)
	p.until(box + `.includes("traceresponse carries the span id of handle_incoming_call of uservice4.")`)
	p.click(".span-box .facts .span-link") // to the receiver
	p.until(`document.querySelector(".span-box h3").textContent === "handle_incoming_call uservice4"`)
	p.until(box + `.includes("Parent other_uservice_call of uservice3 by the span id in the header")`)
}

func TestTheLedgerDoesNotExplainAHeaderThatItShows(t *testing.T) {
	browser := startBrowser(t)
	id := newTraceID()
	span := fmt.Sprintf("%016x", 3)
	headers := func(sender string) []object {
		return []object{
			{"name": "uber-trace-id", "value": id + ":" + span + ":0:1", "valid": true, "trace_id": id, "span_id": span, "sender": sender, "sampled": true},
			{"name": "traceparent", "value": "00-" + id + "-" + span + "-01", "valid": true, "trace_id": id, "span_id": span, "sender": sender, "sampled": true},
		}
	}
	hop := func(from, to string) object {
		side := object{"source": "recorded", "headers": headers("gateway")}
		return object{"from": from, "to": to, "action": "continued", "says": "", "trace_id": id, "left": side, "arrived": side}
	}
	address, send := inProcess(t, ledgerOf(id, object{"outcome": "whole", "summary": "", "hops": []object{hop("gateway", "shop"), hop("shop", "uservice4")}}))
	send(object{"resourceSpans": []object{proxied(id, "uservice3", "/", "200", 30*time.Second)}})
	p := open(t, browser, address+"/trace/"+id, 1280)
	p.until(says("shop") + ` === "uber-trace-id and traceparent carry the span id of ReverseProxy of gateway. "`)
	if got, want := js[string](p, says("uservice4")), "uber-trace-id and traceparent carry the span id of ReverseProxy of gateway, passed on by shop. "; got != want {
		t.Errorf("of a service without spans the page says %q, want %q", got, want)
	}
	if hints := p.texts(".ledger .hint"); slices.ContainsFunc(hints, func(h string) bool { return strings.Contains(h, whyNotW3C) }) {
		t.Errorf("both headers are there, and the page says %q", hints)
	}
}
