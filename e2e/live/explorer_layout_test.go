package live

import (
	"fmt"
	"testing"

	"example.com/grafana-tempo-go-demo/e2e/internal/testbed"
)

// wide makes the page use the widest font that is common on Linux. Verdana is as wide.
const wide = `void document.documentElement.style.setProperty("--sans", "'DejaVu Sans', Verdana, sans-serif")`

// cut lists the names in a waterfall that do not fit.
const cut = `[...document.querySelectorAll("[data-span] %s")].filter((e) => e.scrollWidth > e.clientWidth).map((e) => e.textContent)`

// TestTheWaterfallIsNear: what stands above it is short, also while something is broken, and on a
// narrow screen.
func TestTheWaterfallIsNear(t *testing.T) {
	browser := startBrowser(t)
	d := demoOfItsOwn(t)
	const ends = "document.querySelector(%q).getBoundingClientRect().bottom"
	for fault, want := range map[string]struct {
		spans int
		top   float64 // where the first span ends, in pixels
		on360 float64 // likewise, on a narrow screen
	}{"": {7, 320, 720}, "killed-before-flush": {5, 320, 1020}} {
		p := withFault(t, browser, d.Explorer, fault)
		js[any](p, `void document.querySelector("input[name=fail][value=database]").click()`)
		p.call("uservice3")
		p.until(fmt.Sprintf(`document.querySelectorAll(".detail > .card [data-span]").length === %d && document.querySelector(".answer.bad")`, want.spans))
		js[any](p, wide)
		if calls, fails := js[float64](p, fmt.Sprintf(ends, ".caller button")), js[float64](p, fmt.Sprintf(ends, ".segments span")); max(fails, calls)-min(fails, calls) > 9 {
			t.Errorf("what shall fail ends %v pixels down, not in the line of the buttons, which end at %v", fails, calls)
		}
		if at := js[float64](p, fmt.Sprintf(ends, "[data-span]")); at > want.top {
			t.Errorf("with %q the first span ends %v pixels down, want %v at most", fault, at, want.top)
		}
		p.width(360)
		js[any](p, `void document.querySelector("input[name=fail][value='']").click()`)
		if got := js[[]string](p, fmt.Sprintf(cut, ".wf-span")); len(got) > 0 {
			t.Errorf("names that are cut: %q", got)
		}
		if at := js[float64](p, fmt.Sprintf(ends, "[data-span]")); at > want.on360 {
			t.Errorf("with %q the first span ends %v pixels down on a narrow screen, want %v at most", fault, at, want.on360)
		}
		if fault == "" {
			continue
		}
		button := js[float64](p, fmt.Sprintf(ends, ".fault-note button"))
		if text := js[float64](p, fmt.Sprintf(ends, ".fault-note summary")); button > text {
			t.Errorf("Repair ends %v pixels down, below its text, which ends at %v", button, text)
		}
		symptom := said{yes: []string{"Nothing is below other_uservice_call"}}
		p.judge(".fault-note", said{no: symptom.yes})
		p.click(".fault-note summary")
		p.judge(".fault-note", symptom)
	}
}

// broken lists what takes more than one line and should not, squares without their name beside them,
// and boxes that cover a text.
const broken = `(() => {
	const found = [];
	const lines = (e) => {
		const range = document.createRange();
		range.selectNodeContents(e);
		const tops = [...range.getClientRects()].map((r) => (r.top + r.bottom) / 2).sort((a, b) => a - b);
		return tops.filter((y, i) => i && y - tops[i - 1] > 9).length + 1;
	};
	for (const e of document.querySelectorAll(".badge, .wf-error, .wf-note, .num, .wf-num, .count, .chip, .facts:not(.small) dd, .hop-status, .answer-time, .answer-status, .t-duration, .t-age, .t-spans, .t-errors, .tick")) {
		if (e.offsetHeight && lines(e) > 1) found.push(e.className + ": " + e.textContent);
	}
	for (const dot of document.querySelectorAll(".dot")) {
		const text = document.createTreeWalker(dot.parentElement, NodeFilter.SHOW_TEXT).nextNode();
		if (!text || !dot.offsetHeight) continue;
		const range = document.createRange();
		range.setStart(text, 0);
		range.setEnd(text, 1);
		const a = dot.getBoundingClientRect(), b = range.getBoundingClientRect();
		if (a.bottom < b.top || a.top > b.bottom || a.right > b.left) found.push("the square of " + text.data);
	}
	for (const side of document.querySelectorAll(".hop .side")) {
		const says = side.closest(".hop").querySelector(".hop-says");
		if (side.getBoundingClientRect().top < says.getBoundingClientRect().bottom) found.push("over " + says.textContent + ": " + side.textContent);
	}
	return found;
})()`

func TestWhatIsShortStaysOnOneLine(t *testing.T) {
	browser := startBrowser(t)
	address := explorerOf(t)
	for _, width := range []int64{1280, 360} {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			p := open(t, browser, address, width)
			check := func(where string) {
				t.Helper()
				js[any](p, wide)
				if got := js[[]string](p, broken); len(got) > 0 {
					t.Errorf("%s: %q", where, got)
				}
				if over := js[int](p, "document.documentElement.scrollWidth - innerWidth"); over > 0 {
					t.Errorf("%s is %d pixels wider than the window", where, over)
				}
			}
			p.until(`document.querySelector("#list-empty:not([hidden]), #list a")`)
			p.call("uservice3")
			p.call("uservice1")
			p.until(`document.querySelectorAll(".twin [data-span]").length === 7`)
			check("a plain service's trace, and its twin's")
			js[any](p, `void document.querySelector("input[name=fail][value=database]").click()`)
			p.call("uservice3")
			p.until(`document.querySelectorAll(".detail > .card [data-span]").length === 7`)
			if testbed.Shared(t).Demo != nil {
				p.until(`document.querySelectorAll(".ledger .hop").length === 3`)
			}
			js[any](p, `void document.querySelectorAll(".detail > .card [data-span]")[2].click()`)
			p.until(`document.querySelector(".span-box .kv")`)
			check("a failed trace")
			p.click(".brand")
			p.until(`document.querySelectorAll("#list a .t-errors:not(:empty)").length`)
			check("the home page")
		})
	}
}
