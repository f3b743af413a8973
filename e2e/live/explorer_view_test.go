package live

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// drag moves the mouse from one point of an element to another, with its button down. The points are
// parts of its width.
func (p *page) drag(selector string, from, to float64) {
	p.t.Helper()
	at := js[[]float64](p, fmt.Sprintf(`(() => { const b = document.querySelector(%q).getBoundingClientRect(); return [b.left, b.width, b.top + b.height / 2]; })()`, selector))
	for _, e := range []struct {
		kind  input.DispatchMouseEventType
		place float64
	}{{"mouseMoved", from}, {"mousePressed", from}, {"mouseMoved", (from + to) / 2}, {"mouseMoved", to}, {"mouseReleased", to}} {
		_, err := chromedp.Call(p.ctx, input.DispatchMouseEvent, input.DispatchMouseEventParams{
			Type: e.kind, X: at[0] + e.place*at[1], Y: at[2], Button: input.MouseButtonLeft, Buttons: 1, ClickCount: 1,
		})
		p.must(err)
	}
}

// manySpans sends a trace of ten services and 400 spans, which takes 4 s: the second span is a call of
// 217 us, and number 390 failed and has no parent.
func manySpans(send func(any), ago time.Duration) (id string) {
	id = newTraceID()
	services := make([][]object, 10)
	for n := range 400 {
		s := timed(id, n+1, min(n, 1), "internal", fmt.Sprintf("a step with a long name %d", n), ago, n*10, n*10+9)
		s["attributes"] = []object{attribute("customer.id", fmt.Sprintf("c-%d", n%80))}
		switch n {
		case 0:
			s = timed(id, 1, 0, "server", "GET", ago, 0, 4000)
		case 1:
			s["endTimeUnixNano"] = fmt.Sprint(began.Add(-ago + 10*time.Millisecond + 217*time.Microsecond).UnixNano())
		case 390:
			s["parentSpanId"], s["status"] = fmt.Sprintf("%016x", 9999), object{"code": 2}
		}
		services[n%10] = append(services[n%10], s)
	}
	var all []object
	for i, spans := range services {
		all = append(all, resourceSpans(fmt.Sprintf("a-service-%d", i), spans...))
	}
	send(object{"resourceSpans": all})
	return id
}

func TestDetailsOpenWhereTheReaderLooks(t *testing.T) {
	browser := startBrowser(t)
	address, send := inProcess(t, nil)
	id := manySpans(send, 30*time.Hour)
	for _, width := range []int64{1920, 1280, 800, 360} {
		p := open(t, browser, address+"/trace/"+id, width)
		p.until(`document.querySelector("[data-span]")`)
		if half := js[float64](p, `document.querySelector(".axis").offsetWidth / document.querySelector(".wf-card").offsetWidth`); half < 0.5 {
			t.Errorf("at %d the time axis has %.2f of the card", width, half)
		}
		if ticks := p.texts(".tick:not(.last)"); len(ticks) < 2 || ticks[0] != "0" || !slices.Contains([]string{"0.5 s", "1.0 s", "1 s", "2 s"}, ticks[1]) {
			t.Errorf("at %d the axis says %q", width, ticks)
		}
		if top := js[float64](p, `document.querySelector("[data-span]").getBoundingClientRect().bottom`); width >= 1280 && top > 320 {
			t.Errorf("at %d the first span ends %v pixels down", width, top)
		}
		js[any](p, `void (document.querySelector(".waterfall").scrollTop = 6000)`)
		p.until(`document.querySelectorAll("[data-span]").length > 10 && document.querySelectorAll("[data-span]")[8].ariaRowIndex > 100`)
		js[any](p, `void document.querySelectorAll("[data-span]")[16].click()`)
		p.until(`document.querySelector(".span-box .kv")`)
		seen := js[string](p, `(() => {
			const box = document.querySelector(".span-box").getBoundingClientRect(), row = document.querySelector(".wf-row.selected").getBoundingClientRect();
			const inside = row.top >= 0 && row.bottom <= innerHeight && box.top >= 0 && box.top + 150 <= innerHeight;
			return !inside ? "out of sight: " + row.top + " " + box.top : box.left >= row.right ? "beside" : Math.abs(box.top - row.bottom) < 9 ? "below the row" : "elsewhere: " + box.top;
		})()`)
		if want := map[bool]string{true: "beside", false: "below the row"}[width >= 1280]; seen != want {
			t.Errorf("at %d the details are %s, want %s", width, seen, want)
		}
		if got := strings.Join(p.texts(".span-box h4, .span-box summary"), ", "); got != "Attributes, Resource 1 attribute" || js[bool](p, `document.querySelector(".resource").open`) {
			t.Errorf("the details have %s", got)
		}
		if over := js[int](p, "document.documentElement.scrollWidth - innerWidth"); over > 0 {
			t.Errorf("the page is %d pixels wider than the window of %d", over, width)
		}
		p.judge(".span-acts", said{yes: []string{"Copy span id", "Copy link"}})
		js[any](p, `void (document.querySelector(".waterfall").scrollTop = 1e6)`)
		p.until(`document.querySelector(".wf-row.failed .wf-note")`)
		if name := js[float64](p, `(document.querySelector(".wf-row.failed .wf-span").offsetWidth)`); name < 80 {
			t.Errorf("at %d two marks leave %v pixels for the span's name", width, name)
		}
		// A name of which a stub is left says nothing: the service's is there as a whole, or not at all.
		if stubs := js[[]string](p, `[...document.querySelectorAll(".wf-service")].filter((e) => e.offsetTop < e.parentElement.clientHeight && e.scrollWidth > e.clientWidth).map((e) => e.textContent)`); len(stubs) > 0 {
			t.Errorf("at %d services are cut: %q", width, stubs)
		}
	}
	p := open(t, browser, address+"/trace/"+id, 1280)
	p.until(`document.querySelectorAll(".legend .dot").length === 10`)
	if started := p.texts(".facts .wide dd"); len(started) != 1 || !strings.Contains(started[0], "20") || !strings.Contains(started[0], ", ") {
		t.Errorf("a trace of yesterday started at %q", started)
	}
	for _, scheme := range []string{"light", "dark"} {
		_, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
		p.must(err)
		got := js[struct {
			Colours int
			Least   float64
		}](p, `(() => {
			const light = (text) => text.match(/\d+/g).slice(0, 3).map((n) => n / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)).reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
			const colours = [...document.querySelectorAll(".legend .dot")].map((e) => getComputedStyle(e).backgroundColor);
			const card = light(getComputedStyle(document.querySelector(".wf-card")).backgroundColor);
			const contrast = (c) => { const [a, b] = [light(c), card].sort((a, b) => b - a); return (a + 0.05) / (b + 0.05); };
			return {Colours: new Set(colours).size, Least: Math.min(...colours.map(contrast), contrast(/rgb\([^)]*\)/.exec(getComputedStyle(document.querySelector(".bar")).backgroundImage)[0]))};
		})()`)
		if got.Colours != 10 || got.Least < 3 {
			t.Errorf("%s: ten services have %d colours, and one of them or a bar that waits has a contrast of %.1f", scheme, got.Colours, got.Least)
		}
	}
	// The names' column and the list of traces are as the reader left them.
	width := `document.querySelector(".wf-head .wf-name").offsetWidth`
	before := js[float64](p, width)
	js[any](p, `void document.querySelector("[role=separator]").focus()`)
	p.press(kb.ArrowLeft + kb.ArrowLeft)
	p.until(fmt.Sprintf("%s < %v", width, before-20))
	p.drag("[role=separator]", 0.5, 12)
	p.until(fmt.Sprintf("%s > %v", width, before))
	wider := js[float64](p, width)
	p.click(".lister")
	p.until(`document.querySelector("#traces").offsetHeight`)
	p.must(chromedp.Do(p.ctx, chromedp.Navigate(address+"/trace/"+id)))
	p.until(`document.querySelector("[data-span]") && document.querySelector("#traces").offsetHeight`)
	p.click(".lister")
	p.until(fmt.Sprintf(`!document.querySelector("#traces").offsetHeight && Math.abs(%s - %v) < 20`, width, wider))
}

func TestZoomAndFind(t *testing.T) {
	browser := startBrowser(t)
	address, send := inProcess(t, nil)
	id := manySpans(send, 30*time.Second)
	p := open(t, browser, address+"/trace/"+id, 1280)
	const ticks = `[...document.querySelectorAll(".tick")].map((e) => e.textContent).join()`
	p.until(`document.querySelector("[data-span]")`)
	whole := js[string](p, ticks)

	p.drag(".axis", 0.25, 0.5)
	p.until(`/^#@9\d\d[\d.]*-20?[01]\d\d|^#@1000-2000/.test(location.hash) && ` + ticks + ` !== "` + whole + `"`)
	p.until(`document.querySelector(".overview").offsetHeight > 10`)
	js[any](p, `void document.querySelector(".axis").dispatchEvent(new MouseEvent("dblclick", {bubbles: true}))`)
	p.until(`!location.hash && ` + ticks + ` === "` + whole + `"`)
	// By keyboard alone, to a span of 217 us in a trace of 4 s, which can then be looked at.
	js[any](p, `void document.querySelector("[data-span][tabindex='0']").focus()`)
	p.press(kb.ArrowDown + kb.Enter + "z")
	const bar = `document.querySelector(".wf-row.selected .bar").offsetWidth / document.querySelector(".axis").offsetWidth`
	p.until(bar + " > 0.5")
	p.until(ticks + `.includes("10.2")`)
	p.press("--+")
	p.until(bar + " < 0.5 && " + bar + " > 0.3")
	link := js[string](p, "location.href")
	again := open(t, browser, link, 1280)
	again.until(`document.querySelector(".span-box h3")?.textContent.includes("a step with a long name 1")`)
	if a, b := js[string](p, ticks), js[string](again, ticks); a != b || a == whole {
		t.Errorf("the link opens %s, not %s", b, a)
	}
	p.press(kb.Escape)
	p.until(ticks + ` === "` + whole + `" && !document.querySelector(".span-box").hidden`)

	p.press("/")
	p.until(`document.activeElement.type === "search"`)
	p.press("customer.id=C-7")
	p.until(`document.querySelector(".steps .count").textContent === "55 matches"`) // c-7 and c-70 to c-79
	if js[int](p, `document.querySelectorAll(".wf-row.found").length`) == 0 {
		t.Error("what is found is not marked")
	}
	for _, step := range []struct{ shift, want string }{{"", "1 of 55 7"}, {"", "2 of 55 70"}, {"shift", "1 of 55 7"}} {
		if step.shift == "" {
			p.press(kb.Enter)
		} else {
			p.must(chromedp.Do(p.ctx, chromedp.KeyEvent(kb.Enter, chromedp.KeyModifiers(chromedp.ModifierShift))))
		}
		p.until(fmt.Sprintf(`document.querySelector(".steps .count").textContent + " " + document.querySelector(".wf-row.selected .wf-span")?.textContent.split(" ").pop() === %q`, step.want))
	}
	for find, want := range map[string]string{"A-SERVICE-3": "40 matches", fmt.Sprintf("%016x", 7): "1 match", "nothing like it": "No match"} {
		js[any](p, fmt.Sprintf(`(() => { const f = document.querySelector(".find input"); f.value = %q; f.dispatchEvent(new InputEvent("input")); })()`, find))
		p.until(fmt.Sprintf(`document.querySelector(".steps .count").textContent === %q`, want))
	}
	p.press(kb.Escape + kb.Escape)
	p.until(`document.activeElement.matches("[data-span]") && !document.querySelector(".wf-row.found")`)
}
