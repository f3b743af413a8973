package live

import (
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"
)

// TestTheExplorerOpensComparesAndMaps goes by keyboard wherever a reader may.
func TestTheExplorerOpensComparesAndMaps(t *testing.T) {
	browser := startBrowser(t)
	address, send := inProcess(t, nil)
	first, second := newTraceID(), newTraceID()
	for i, id := range []string{first, second} {
		ago := time.Duration(3-i) * time.Minute
		send(object{"resourceSpans": []object{proxied(id, "uservice3", "/", "200", ago),
			resourceSpans("uservice3", timed(id, 3, 2, "server", "handle_incoming_call", ago, 0, 1000*(i+1)))}})
	}
	p := open(t, browser, address, 1280)
	p.until(`document.querySelectorAll("#list a").length === 2`)
	focus := func(selector string) { js[any](p, fmt.Sprintf(`document.querySelector(%q).focus()`, selector)) }
	drawn := func(within string, spans int) {
		t.Helper()
		p.until(fmt.Sprintf(`document.querySelectorAll("%s [data-span]").length === %d`, within, spans))
	}

	// A header names a trace and a span.
	focus("#open-text")
	p.press("hello" + kb.Enter)
	p.judge("#open-problem", said{yes: []string{"There is no trace id in this"}})
	js[any](p, `document.querySelector("#open-text").value = ""`)
	p.press(fmt.Sprintf("uber-trace-id: %s:%016x:0:1", first, 4) + kb.Enter)
	drawn(".detail > .card", 3)
	p.until(fmt.Sprintf(`location.pathname === "/trace/%s" && location.hash === "#%016x" && document.querySelector(".wf-row.selected .wf-span").textContent === "handle_incoming_call"`, first, 4))

	// Another trace is chosen from the list, and drawn on one scale.
	focus(`.d-id a[href$="/with/"]`)
	p.press(kb.Enter)
	p.until(`document.activeElement.closest("#list a") && !document.querySelector("#choosing").hidden`)
	p.press(kb.Home + kb.Enter)
	drawn(".twin", 3)
	p.until(fmt.Sprintf(`location.pathname === "/trace/%s/with/%s" && document.querySelector("#choosing").hidden`, first, second))
	p.judge(".twin", said{yes: []string{"Compared with uservice3: GET /", "after this one, and took 1.00 s longer"}})
	p.until(`[...document.querySelectorAll(".tick.last")].map((t) => t.textContent).join() === "2.00 s,2.00 s"`)

	// What the link gives can be dropped, and is drawn without the trace store.
	js[any](p, `(async () => {
		const link = document.querySelector("a[download]"), data = new DataTransfer();
		data.items.add(new File([await (await fetch(link.href)).text()], link.download));
		document.body.dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true}));
	})()`)
	p.judge(".detail", said{yes: []string{"From the file trace-" + first + ".json", "keeps nothing of it"}})
	drawn(".detail > .card", 3)
	p.until(`location.pathname === "/file" && document.activeElement.id === "detail-title" && !document.querySelector(".ledger")`)
	js[any](p, `void (() => {
		const data = new DataTransfer(), file = document.querySelector("#open-file");
		data.items.add(new File(['{"data":[{"spans":[]}]}'], "jaeger.json"));
		file.files = data.files;
		file.dispatchEvent(new Event("change"));
	})()`)
	p.judge(".detail", said{yes: []string{"This file cannot be opened", "it is Jaeger's JSON", "jaeger.json"}})

	// A node of the map leads to its traces.
	focus(`nav a[href="/map"]`)
	p.press(kb.Enter)
	p.until(`[...document.querySelectorAll(".node .name")].map((n) => n.textContent).join() === "gateway,uservice3"`)
	p.judge("#map", said{yes: []string{"gateway → uservice3", "From the 2 newest traces"}})
	focus(`#map a[data-node="uservice3"]`)
	p.press(kb.Enter)
	p.until(`location.pathname + location.search === "/?service=uservice3" && document.querySelector("#f-service")?.value === "uservice3"`)
}
