package live

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/e2e/internal/testbed"
)

// says selects what the ledger says of the hop to a service.
func says(service string) string {
	return fmt.Sprintf(`[...document.querySelectorAll('.ledger .hop[data-to="%s"] .hop-says')].map((e) => e.textContent).join()`, service)
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
	for _, once := range []string{"Sampled (flag 1): the sender records its span,", "Why not W3C's traceparent?"} {
		if n := strings.Count(js[string](p, "document.body.innerText"), once); n != 1 {
			t.Errorf("%q stands there %d times", once, n)
		}
	}
	p.click(`.hop[data-to="uservice4"] .hop-says a`)
	p.until(`document.querySelector(".span-box h3")?.textContent === "other_uservice_call uservice3"`)
	box := `document.querySelector(".span-box").innerText.replace(/\s+/g, " ")`
	p.until(box + `.includes("in the header to handle_incoming_call of uservice4")`)
	p.click(".span-box .facts .span-link") // to the receiver
	p.until(`document.querySelector(".span-box h3").textContent === "handle_incoming_call uservice4"`)
	p.until(box + `.includes("Parent other_uservice_call of uservice3 by the span id in the header")`)
}

func TestTheLedgerIsDrawn(t *testing.T) {
	browser := startBrowser(t)
	id, sender := newTraceID(), fmt.Sprintf("%016x", 2) // of the span with number 1
	l := ledger.New(1)
	l.AddLine("uservice4", fmt.Appendf(nil, `{"time":"2026-01-02T12:00:00Z","msg":"request","headers":{"uber-trace-id":"%s:%s:0:1","traceparent":"00-%[1]s-%[2]s-01"},"trace_id":"%[1]s","span_id":"%016x"}`, id, sender, 3))
	address, send := inProcess(t, l)
	send(object{"resourceSpans": []object{resourceSpans("shop", timed(id, 1, 0, "client", "GET", 30*time.Second, 0, 1000)),
		resourceSpans("uservice4", timed(id, 2, 1, "server", "handle_incoming_call", 30*time.Second, 0, 1000))}})
	p := open(t, browser, address+"/trace/"+id, 1280)
	p.until(says("uservice4") + `.startsWith("uber-trace-id and traceparent carry the span id of GET of shop. ")`)
	for selector, want := range map[string][]string{
		".hop-who": {"shop → uservice4"}, ".l-header .part": {id, sender, id, sender}, ".h-facts": {"Flags 1, sampled", "Flags 01, sampled"},
		".ledger .hint.w3c": nil, // both headers are there
	} {
		if got := p.texts(selector); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", selector, got, want)
		}
	}
	if colours := js[[]string](p, `[...document.querySelectorAll(".who")].map((w) => w.classList[1])`); len(colours) != 2 || colours[0] == colours[1] {
		t.Errorf("two services have the colours %q", colours)
	}
}
