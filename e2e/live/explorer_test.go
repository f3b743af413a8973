package live

import (
	"fmt"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"

	"example.com/grafana-tempo-go-demo/demo/explorer"
	"example.com/grafana-tempo-go-demo/e2e/internal/testbed"
)

// explorerOf returns the URL of the demo's explorer. For a stack that was up already it starts one.
func explorerOf(t *testing.T) string {
	t.Helper()
	s := testbed.Shared(t)
	if s.Demo != nil {
		return s.Demo.Explorer
	}
	tempoURL, err := url.Parse(s.Tempo.URL)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(explorer.New(explorer.Options{Tempo: tempoURL, Gateway: s.Gateway}))
	t.Cleanup(server.Close)
	return server.URL
}

const sevenSpans = `<proxy> GET
  <proxy> ReverseProxy
    uservice3 handle_incoming_call
      uservice3 redis_call
      uservice3 other_uservice_call
        uservice4 handle_incoming_call
          uservice4 database_call`

func TestTheExplorerShowsWhereTheTimeWent(t *testing.T) {
	browser := startBrowser(t)
	address := explorerOf(t)

	t.Run("a call's trace appears by itself", func(t *testing.T) {
		p := open(t, browser, address, 1280)
		js[any](p, "void (window.loadedOnce = true)")
		p.call("uservice3")
		id := strings.TrimPrefix(js[string](p, "location.pathname"), "/trace/")
		p.until(`document.querySelectorAll(".detail > .card [data-span]").length === 7`)
		if got := p.tree(); got != sevenSpans {
			t.Errorf("the waterfall shows\n%s\nwant\n%s", got, sevenSpans)
		}
		if legend := p.texts(".legend-name"); len(legend) != 3 || !slices.Contains(legend, "uservice3") || !slices.Contains(legend, "uservice4") {
			t.Errorf("the legend names %q", legend)
		}
		p.until(fmt.Sprintf(`document.querySelector('#list a[data-id="%s"] .t-title')?.textContent === "uservice3"`, id))
		if answer := p.texts(".answer"); len(answer) != 1 || !strings.Contains(answer[0], "200 OK") {
			t.Errorf("the answer is shown as %q", answer)
		}
		if !js[bool](p, "window.loadedOnce === true") {
			t.Error("the page was loaded again")
		}

		js[any](p, `void [...document.querySelectorAll("[data-span]")].find((r) => r.querySelector(".wf-span").textContent === "redis_call").scrollIntoView({block: "center"})`)
		js[any](p, `void [...document.querySelectorAll("[data-span]")].find((r) => r.querySelector(".wf-span").textContent === "redis_call").click()`)
		p.until(`document.querySelector(".span-box .kv")`)
		details := js[string](p, `document.querySelector(".span-box").textContent`)
		for _, want := range []string{"redis_call", "client", "ok", "db.system.name", "redis", "test-attribute-1", "test-values-1", "process.pid"} {
			if !strings.Contains(details, want) {
				t.Errorf("%q is not among the span's details: %s", want, details)
			}
		}
	})

	t.Run("an error is marked by more than colour", func(t *testing.T) {
		p := open(t, browser, address, 1280)
		p.until(`document.querySelector("input[name=fail][value=database]")`)
		js[any](p, `void document.querySelector("input[name=fail][value=database]").click()`)
		p.call("uservice3")
		p.until(`document.querySelectorAll(".detail > .card [data-span]").length === 7`)
		if tree := p.tree(); strings.Count(tree, " error") != 6 || strings.Contains(tree, "redis_call error") {
			t.Errorf("the waterfall shows\n%s", tree)
		}
		if answer := p.texts(".answer"); !strings.Contains(answer[0], "502") {
			t.Errorf("the answer is shown as %q", answer)
		}
		id := strings.TrimPrefix(js[string](p, "location.pathname"), "/trace/")
		js[any](p, `void document.querySelector("#f-errors").click()`)
		p.until(fmt.Sprintf(`document.querySelector('#list a[data-id="%s"] .t-errors')?.textContent === "6 of 7 spans failed"`, id))
		p.until(`[...document.querySelectorAll("#list li")].every((li) => li.classList.contains("failed"))`)
	})

	t.Run("everything can be reached with the keyboard", func(t *testing.T) {
		p := open(t, browser, address, 1280)
		p.call("uservice3")
		p.until(`document.querySelectorAll(".detail > .card [data-span]").length === 7`)
		js[any](p, `void document.querySelector("[data-span][tabindex='0']").focus()`)
		focused := `document.activeElement.querySelector(".wf-span")?.textContent`
		for _, step := range []struct{ keys, want string }{
			{kb.ArrowDown, "ReverseProxy"}, {kb.End, "database_call"}, {kb.ArrowLeft, "handle_incoming_call"}, {kb.Home, "GET"},
			{kb.ArrowRight, "ReverseProxy"},
		} {
			p.press(step.keys)
			p.until(focused + " === '" + step.want + "'")
		}
		p.press(kb.ArrowLeft) // collapses
		p.until(`document.querySelectorAll(".detail > .card [data-span]").length === 2`)
		p.press(kb.ArrowRight)
		p.until(`document.querySelectorAll(".detail > .card [data-span]").length === 7`)
		p.press(kb.Enter)
		p.until(`document.querySelector(".span-box h3")?.textContent.includes("ReverseProxy")`)
		p.press(kb.Escape)
		p.until(`document.querySelector(".span-box").hidden`)
		p.click(".lister")
		js[any](p, `void document.querySelector("#list a[tabindex='0']").focus()`)
		p.press(kb.End)
		p.until(`document.activeElement === [...document.querySelectorAll("#list a")].at(-1)`)
	})
}

// TestTheExplorerBreaksAndRepairs switches faults on, on the page, and looks for what only it can show:
// the way to the other half of a request and back, and a trace without spans. What each fault leaves
// is tested in demo/stack.
func TestTheExplorerBreaksAndRepairs(t *testing.T) {
	browser := startBrowser(t)
	d := demoOfItsOwn(t)
	const hops = `[...document.querySelectorAll(".ledger .hop")].map((h) => h.dataset.to + " " + h.dataset.action).join()`
	const spans = `document.querySelectorAll(".detail > .card [data-span]").length`
	const whole = "gateway started,uservice3 continued,uservice4 continued"
	for name, want := range map[string]struct {
		spans int    // of the trace that is open
		hops  string // the ledger, in short
	}{
		"malformed-header": {5, "gateway started,uservice3 ignored-malformed,uservice4 continued"},
		"not-sampled":      {0, whole},
	} {
		t.Run(name, func(t *testing.T) {
			p := open(t, browser, d.Explorer, 1280)
			chooseFault(p)
			if n := js[int](p, `document.querySelectorAll("[data-fault]").length`); n != 7 {
				t.Errorf("the page offers %d faults", n)
			}
			js[any](p, fmt.Sprintf(`void document.querySelector('[data-fault="%s"]').click()`, name))
			p.until(fmt.Sprintf(`document.querySelector('[data-fault="%s"]').getAttribute("aria-pressed") === "true" && !document.querySelector("#fault-banner").hidden`, name))
			p.call("uservice3")
			p.until(fmt.Sprintf("%s === %d && %s === %q", spans, want.spans, hops, want.hops))
			if name == "not-sampled" {
				p.judge(".answer, .detail", said{yes: []string{"not sampled", "This call was not sampled"}, no: []string{"its trace"}})
			} else { // which leads to the other half and back
				first := js[string](p, "location.pathname")
				p.click(".story .note:first-child a")
				p.judge(".mystery", said{yes: []string{"answered from another trace", "Open the other half"}})
				p.until(fmt.Sprintf(`document.querySelector(".mystery a").getAttribute("href") === %q`, first))
			}
			p.click("#fault-banner button")
			p.until(`document.querySelector("#fault-banner").hidden`)
			p.call("uservice3")
			p.until(fmt.Sprintf("%s === 7 && %s === %q", spans, hops, whole))
		})
	}
}
