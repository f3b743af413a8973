package live

import (
	"fmt"
	"strings"
	"testing"

	"example.com/grafana-tempo-go-demo/demo/lab"
	"example.com/grafana-tempo-go-demo/e2e/internal/testbed"
)

// chooseFault opens the list of faults on the first page.
func chooseFault(p *page) {
	p.t.Helper()
	p.until(`document.querySelector("[data-do=choose]")`)
	p.click("[data-do=choose]")
	p.until(`document.querySelector("[data-fault]")`)
}

// hidden starts a demo with a seed, and returns it with the first faults that the seed gives.
func hidden(t *testing.T) (*testbed.Demo, []lab.Fault) {
	t.Helper()
	d := demoOfItsOwn(t, "-break=random:7")
	var faults []lab.Fault
	for _, name := range []string{"dead-exporter", "other-format", "not-sampled", "no-service-name"} {
		f, ok := lab.Named(name)
		if !ok {
			t.Fatalf("there is no %s", name)
		}
		faults = append(faults, f)
	}
	return d, faults
}

// unnamed fails the test if the page, or anything that it was sent, tells one of the texts.
func (p *page) unnamed(texts ...string) {
	p.t.Helper()
	for where, all := range map[string]string{
		"the page":  js[string](p, "document.title + document.documentElement.outerHTML + document.documentElement.innerText"),
		"an answer": p.answers(),
	} {
		if !strings.Contains(all, "uservice3") {
			p.t.Errorf("%s was not searched: %s", where, all)
		}
		for _, text := range texts {
			if strings.Contains(all, text) {
				p.t.Errorf("%s has %q", where, text)
			}
		}
	}
}

// guess names a cause.
func (p *page) guess(f lab.Fault) {
	p.t.Helper()
	if js[bool](p, `Boolean(document.querySelector("[data-do=name]"))`) {
		p.click("[data-do=name]")
	}
	cause := fmt.Sprintf(`input[name=cause][value="%s"]`, f.Name)
	p.until(fmt.Sprintf("document.querySelectorAll('input[name=cause]').length === %d && document.querySelector('%s')", len(lab.Faults()), cause))
	p.click(cause)
	p.click("[data-do=guess]")
}

const riddle = `document.querySelector("#riddle-title")?.textContent`

func TestTheExplorerDoesNotNameWhatItHides(t *testing.T) {
	browser := startBrowser(t)
	d, faults := hidden(t)
	f := faults[0]
	secrets := append([]string{f.Name, f.Title, f.Diagnosis, f.Fix}, f.Hints...)

	p := open(t, browser, d.Explorer, 1280)
	p.until(riddle + ` === "Something is broken"`)
	p.unnamed(secrets...)
	p.call("uservice3")
	p.until(`document.querySelectorAll(".detail > .card [data-span]").length === 4`)
	p.until(`document.querySelectorAll(".ledger .hop").length === 3`)
	p.unnamed(secrets...)

	p.click("[data-do=hint]")
	p.until(`document.querySelectorAll(".hints li").length === 1`)
	if told := p.texts(".hints li"); told[0] != f.Hints[0] {
		t.Errorf("the hint is %q, want %q", told, f.Hints[0])
	}
	p.unnamed(append([]string{f.Name, f.Title, f.Diagnosis, f.Fix}, f.Hints[1:]...)...)

	p.click("[data-do=name]")
	p.until(fmt.Sprintf(`document.querySelectorAll(".causes label").length === %d`, len(lab.Faults())))

	// Repair tells nothing either.
	p.click("[data-do=repair]")
	p.until(`document.querySelector("#fault-banner").hidden`)
	p.call("uservice3")
	p.until(`document.querySelectorAll(".detail > .card [data-span]").length === 7`)
}

func TestTheExplorerHuntsFaults(t *testing.T) {
	browser := startBrowser(t)
	d, faults := hidden(t)
	p := open(t, browser, d.Explorer, 1280)
	p.until(riddle)

	// The box hears of the call from the call: no poll of its own is left.
	js[any](p, `void (() => { for (let id = setTimeout(() => {}); id > 0; id--) clearTimeout(id); })()`)
	p.call("uservice3")
	p.until(`document.querySelector(".riddle").textContent.includes("Your newest call: trace")`)
	p.guess(faults[1])
	p.until(fmt.Sprintf(`document.querySelector(".riddle .note")?.textContent.includes(%q)`, "If it were “"+faults[1].Title))
	if off := js[[]string](p, `[...document.querySelectorAll("input[name=cause]:disabled")].map((i) => i.value)`); len(off) != 1 || off[0] != faults[1].Name {
		t.Errorf("after a wrong guess %q cannot be chosen", off)
	}
	for i, f := range faults[:3] {
		p.guess(f)
		p.until(riddle + ` === "Correct"`)
		says := p.texts(".riddle")[0]
		for _, want := range []string{f.Title, f.Symptom, f.Diagnosis, f.Fix} {
			if !strings.Contains(says, want) {
				t.Errorf("the answer does not say %q: %s", want, says)
			}
		}
		if i == 0 { // the evidence
			p.click(`.riddle a[href$="#ledger"]`)
			p.until(`document.querySelectorAll(".ledger .hop").length === 3 && document.querySelector(".ledger").getBoundingClientRect().top < innerHeight / 2`)
		}
		p.click(".riddle [data-do=begin]")
		p.until(riddle + ` === "Something is broken" && document.querySelector(".riddle-head").textContent.includes("on since ")`)
		p.until(`location.pathname === "/" && document.querySelector("#detail").hidden`)
		p.until(`document.querySelector("#list .before") && !document.querySelector("#list li:not(.before)")`) // this fault has no trace yet
	}
	p.click("[data-do=give-up]")
	p.until(riddle + ` === "The cause"`)
	if says := p.texts(".riddle")[0]; !strings.Contains(says, faults[3].Title) {
		t.Errorf("the answer does not say %q: %s", faults[3].Title, says)
	}

	// A fault that is chosen takes the place of one that is hidden.
	p.click(".faults [data-do=begin]")
	p.until(riddle + ` === "Something is broken"`)
	chooseFault(p)
	p.click(`[data-fault="malformed-header"]`)
	p.until(`document.querySelector(".fault-note")?.textContent.includes("The gateway damages the propagation header") && !document.querySelector(".riddle")`)
}
