package live

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"example.com/grafana-tempo-go-demo/demo/collector"
	"example.com/grafana-tempo-go-demo/demo/explorer"
	"example.com/grafana-tempo-go-demo/e2e/chrome"
	"example.com/grafana-tempo-go-demo/e2e/internal/testbed"
)

// startBrowser starts a browser that ends with the test; without Chromium the test is skipped.
func startBrowser(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel, err := chrome.Start(context.Background())
	if errors.Is(err, chrome.ErrNone) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cancel)
	return ctx
}

// page is a tab. When its test ends, it must have written nothing to the console, and asked no other host for anything.
type page struct {
	t    *testing.T
	ctx  context.Context
	mu   sync.Mutex
	said []string // on the console
	sent []string // URLs
}

// open opens an address in a new tab of the given width.
func open(t *testing.T, browser context.Context, address string, width int64) *page {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	p := &page{t: t, ctx: ctx}
	p.must(chromedp.Listen(ctx, func(event any) {
		if e, ok := event.(*network.EventRequestWillBeSent); ok {
			p.mu.Lock()
			p.sent = append(p.sent, e.Request.URL)
			p.mu.Unlock()
		}
	}))
	messages := chromedp.Console(ctx)
	go func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			p.mu.Lock()
			p.said = append(p.said, m.String())
			p.mu.Unlock()
		}
	}()
	_, err := chromedp.Call(ctx, network.Enable, network.EnableParams{})
	p.must(err)
	_, err = chromedp.Call(ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 900, DeviceScaleFactor: 1})
	p.must(err)
	p.must(chromedp.Do(ctx, chromedp.Navigate(address)))
	home, err := url.Parse(address)
	p.must(err)
	t.Cleanup(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, said := range p.said {
			t.Errorf("the console says: %s", said)
		}
		for _, sent := range p.sent {
			if u, err := url.Parse(sent); err != nil || u.Host != home.Host && u.Scheme != "data" {
				t.Errorf("the page asked for %s", sent)
			}
		}
		if len(p.sent) == 0 {
			t.Error("no request was seen: this test sees nothing")
		}
	})
	return p
}

func (p *page) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// js evaluates an expression, which may be a promise.
func js[T any](p *page, expression string) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, testbed.Timeout)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// until waits for an expression to become true.
func (p *page) until(expression string) {
	p.t.Helper()
	if !testbed.Poll(p.t, func(context.Context) bool { return js[bool](p, "Boolean("+expression+")") }) {
		p.t.Fatalf("never true: %s\nthe page says: %s", expression, js[string](p, "document.body.innerText"))
	}
}

func (p *page) click(selector string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, testbed.Timeout)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.Click(chromedp.CSS(selector))); err != nil {
		p.t.Fatalf("click %s: %v", selector, err)
	}
}

func (p *page) press(keys string) {
	p.t.Helper()
	p.must(chromedp.Do(p.ctx, chromedp.KeyEvent(keys)))
}

// texts returns what the elements say.
func (p *page) texts(selector string) []string {
	p.t.Helper()
	return js[[]string](p, fmt.Sprintf("[...document.querySelectorAll(%q)].map((e) => e.textContent.trim())", selector))
}

// tree writes the waterfall, a line for each span, indented by its level; the proxy is called <proxy> whatever it is.
func (p *page) tree() string {
	p.t.Helper()
	return js[string](p, `[...document.querySelectorAll(".detail > .card [data-span]")]
		.sort((a, b) => a.ariaRowIndex - b.ariaRowIndex)
		.map((r) => "  ".repeat(r.ariaLevel - 1) + r.querySelector(".wf-service").textContent.replace(/^(gateway|traefik)$/, "<proxy>") + " " + r.querySelector(".wf-span").textContent + (r.querySelector(".wf-error") ? " error" : ""))
		.join("\n")`)
}

// call presses the button of a service and waits until the page has opened the trace of this call.
func (p *page) call(service string) {
	p.t.Helper()
	before := js[string](p, "location.pathname")
	p.click(`.caller[data-service="` + service + `"] button`)
	p.until(fmt.Sprintf(`location.pathname.startsWith("/trace/") && location.pathname !== %q`, before))
}

// explorerOf returns the address of the page: the demo's own, or one of this test's for a stack that is up elsewhere.
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

	for _, width := range []int64{1280, 360} {
		t.Run(fmt.Sprintf("a call's trace appears by itself, %d wide", width), func(t *testing.T) {
			p := open(t, browser, address, width)
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
			if over := js[int](p, "document.documentElement.scrollWidth - innerWidth"); over > 0 {
				t.Errorf("the page is %d pixels wider than the window", over)
			}

			js[any](p, `void [...document.querySelectorAll("[data-span]")].find((r) => r.querySelector(".wf-span").textContent === "redis_call").scrollIntoView({block: "center"})`)
			js[any](p, `void [...document.querySelectorAll("[data-span]")].find((r) => r.querySelector(".wf-span").textContent === "redis_call").click()`)
			p.until(`document.querySelector(".span-box .kv")`)
			details := js[string](p, `document.querySelector(".span-box").innerText`)
			for _, want := range []string{"redis_call", "client", "ok", "db.system.name", "redis", "test-attribute-1", "test-values-1", "process.pid"} {
				if !strings.Contains(details, want) {
					t.Errorf("%q is not among the span's details: %s", want, details)
				}
			}
			if over := js[int](p, "document.documentElement.scrollWidth - innerWidth"); over > 0 {
				t.Errorf("with a span open the page is %d pixels wider than the window", over)
			}
		})
	}

	t.Run("a plain service's trace says what it does not know", func(t *testing.T) {
		p := open(t, browser, address, 1280)
		p.call("uservice3")
		p.call("uservice1")
		p.until(`document.querySelector(".mystery")`)
		if got, want := p.tree(), "<proxy> GET\n  <proxy> ReverseProxy"; got != want {
			t.Errorf("the waterfall shows\n%s", got)
		}
		if says := p.texts(".mystery"); !strings.Contains(says[0], "unexplained") || !strings.Contains(says[0], "uservice1 is not instrumented") {
			t.Errorf("the page says %q", says)
		}
		p.until(`document.querySelectorAll(".twin [data-span]").length === 7`)
	})

	t.Run("an error is marked by more than colour, and its cause named", func(t *testing.T) {
		p := open(t, browser, address, 1280)
		p.until(`document.querySelector("input[name=fail][value=database]")`)
		js[any](p, `void document.querySelector("input[name=fail][value=database]").click()`)
		p.call("uservice3")
		p.until(`document.querySelectorAll(".detail > .card [data-span]").length === 7`)
		if tree := p.tree(); strings.Count(tree, " error") != 6 || strings.Contains(tree, "redis_call error") {
			t.Errorf("the waterfall shows\n%s", tree)
		}
		if says := p.texts(".story .note"); len(says) != 1 || !strings.Contains(says[0], "It began in database_call of uservice4") {
			t.Errorf("the page says %q", says)
		}
		if answer := p.texts(".answer"); !strings.Contains(answer[0], "502") {
			t.Errorf("the answer is shown as %q", answer)
		}
		id := strings.TrimPrefix(js[string](p, "location.pathname"), "/trace/")
		js[any](p, `void document.querySelector("#f-errors").click()`)
		p.until(fmt.Sprintf(`document.querySelector('#list a[data-id="%s"] .t-errors')?.textContent === "6 errors"`, id))
		p.until(`[...document.querySelectorAll("#list li")].every((li) => li.classList.contains("failed"))`)
	})

	t.Run("a trace opens by its address, without leading zeros too", func(t *testing.T) {
		id := "00000000" + newTraceID()[8:]
		testbed.Shared(t).Get(t, "uservice3.localhost", "/", id+":"+callerSpan+":0:1")
		p := open(t, browser, address+"/trace/"+strings.TrimLeft(id, "0"), 1280)
		p.until(`document.querySelectorAll(".detail > .card [data-span]").length === 7`)
		if shown := p.texts(".d-id code"); len(shown) != 1 || shown[0] != id {
			t.Errorf("the id is shown as %q, want %s", shown, id)
		}
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
		js[any](p, `void document.querySelector("#list a[tabindex='0']").focus()`)
		p.press(kb.End)
		p.until(`document.activeElement === [...document.querySelectorAll("#list a")].at(-1)`)
	})

	t.Run("the ledger shows how the header travelled", func(t *testing.T) {
		if testbed.Shared(t).Demo == nil {
			t.Skip("nobody keeps a ledger of a stack that is up elsewhere")
		}
		p := open(t, browser, address, 1280)
		hops := `[...document.querySelectorAll(".ledger .hop:not(.loose)")].map((h) => h.dataset.from + " " + h.dataset.to + " " + h.dataset.action).join()`
		p.call("uservice3")
		p.until(hops + ` === "client gateway started,gateway uservice3 continued,uservice3 uservice4 continued"`)
		if headers := p.texts(".ledger .h-name"); !slices.Contains(headers, "uber-trace-id:") {
			t.Errorf("the ledger shows %q", headers)
		}
		p.call("uservice1")
		p.until(hops + ` === "client gateway started,gateway uservice1 dropped"`)
	})
}

// inProcess is a collector and an explorer on top of it in this process, for traces that no service makes.
func inProcess(t *testing.T) (explorerURL string, send func(otlp any)) {
	t.Helper()
	store := collector.New(collector.Options{})
	api := httptest.NewServer(store.APIHandler())
	t.Cleanup(api.Close)
	tempoURL, err := url.Parse(api.URL)
	if err != nil {
		t.Fatal(err)
	}
	page := httptest.NewServer(explorer.New(explorer.Options{Tempo: tempoURL, Gateway: tempoURL}))
	t.Cleanup(page.Close)
	otlp := store.OTLPHandler()
	return page.URL, func(data any) {
		body, err := json.Marshal(data)
		if err != nil {
			t.Error(err)
			return
		}
		r := httptest.NewRequest(http.MethodPost, "/v1/traces", strings.NewReader(string(body)))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		otlp.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			answer, _ := io.ReadAll(w.Body)
			t.Errorf("the collector answered %d %s", w.Code, answer)
		}
	}
}

// object is a JSON object of OTLP.
type object map[string]any

func attribute(key, value string) object {
	return object{"key": key, "value": object{"stringValue": value}}
}

// spanOf makes a span that starts some time ago and lasts for a while.
func spanOf(traceID, parent string, n int, name string, ago, lasts time.Duration) object {
	start := time.Now().Add(-ago)
	return object{
		"traceId": traceID, "spanId": fmt.Sprintf("%016x", n+1), "parentSpanId": parent, "name": name, "kind": 2,
		"startTimeUnixNano": fmt.Sprint(start.UnixNano()), "endTimeUnixNano": fmt.Sprint(start.Add(lasts).UnixNano()),
	}
}

func resourceSpans(service string, spans ...object) object {
	return object{"resource": object{"attributes": []object{attribute("service.name", service)}}, "scopeSpans": []object{{"spans": spans}}}
}

func TestTheExplorerShowsForeignTextAsText(t *testing.T) {
	browser := startBrowser(t)
	address, send := inProcess(t)
	const evil = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`
	id := newTraceID()
	span := spanOf(id, "", 1, evil+"\x00\x1b[31m\u202egnp", time.Second, time.Second/2)
	span["attributes"] = []object{attribute(evil, evil+"\u200b\r")}
	span["events"] = []object{{"name": evil, "timeUnixNano": span["startTimeUnixNano"], "attributes": []object{attribute("stack", "one\n\ttwo "+evil)}}}
	span["status"] = object{"code": 2, "message": evil}
	send(object{"resourceSpans": []object{resourceSpans(evil+"\x07", span)}})

	p := open(t, browser, address+"/trace/"+id, 1280)
	p.until(`document.querySelector("[data-span]")`)
	p.until(`document.querySelector("#list a")`)
	js[any](p, `void document.querySelector("[data-span]").click()`)
	js[any](p, `void document.querySelector(".fold summary").click()`)
	p.until(`document.querySelector(".span-box .kv") && document.querySelector(".json").textContent`)
	if n := js[int](p, `document.querySelectorAll("main img, main script").length`); n != 0 {
		t.Errorf("%d elements came out of a span's text", n)
	}
	for _, selector := range []string{".d-title", ".wf-span", ".wf-service", ".span-box h3", ".kv dt", ".kv dd", ".events strong", "q", ".json", "#list .t-title", ".chip", ".legend-name", "tbody th"} {
		text := strings.Join(p.texts(selector), "\n")
		if !strings.Contains(text, "<img src=x onerror=") {
			t.Errorf("%s does not show the text as it is: %q", selector, text)
		}
		if strings.ContainsAny(text, "\x00\x07\x1b\u202e\u200b\r") {
			t.Errorf("%s has characters that cannot be seen: %q", selector, text)
		}
	}
	if name := p.texts(".wf-span")[0]; !strings.HasSuffix(name, "␀␛[31m⟨U+202E⟩gnp") {
		t.Errorf("the controls are shown as %q", name)
	}
}

func TestTheExplorerDrawsAThousandSpans(t *testing.T) {
	browser := startBrowser(t)
	address, send := inProcess(t)
	id := newTraceID()
	const spans, services = 1000, 6
	byService := map[string][]object{}
	for n := range spans {
		parent := ""
		if n > 0 {
			parent = fmt.Sprintf("%016x", (n-1)/3+1) // a tree in which each span has three children
		}
		ago := 10*time.Second - time.Duration(n)*5*time.Millisecond
		service := fmt.Sprintf("service-%d", n%services)
		byService[service] = append(byService[service], spanOf(id, parent, n, fmt.Sprintf("step %d", n), ago, time.Second))
	}
	var groups []object
	for service, list := range byService {
		groups = append(groups, resourceSpans(service, list...))
	}
	send(object{"resourceSpans": groups})

	p := open(t, browser, address+"/trace/"+id, 1280)
	p.until(`performance.getEntriesByName("trace-paint").length`)
	paint := js[float64](p, `performance.getEntriesByName("trace-paint")[0].duration`)
	rows := js[int](p, `document.querySelectorAll("[data-span]").length`)
	// One frame for each step from the first span to the last.
	worst := js[float64](p, `(async () => {
		const tree = document.querySelector(".waterfall");
		let worst = 0, last = await new Promise(requestAnimationFrame);
		while (tree.scrollTop + tree.clientHeight < tree.scrollHeight - 1) {
			tree.scrollTop += 600;
			const now = await new Promise(requestAnimationFrame);
			worst = Math.max(worst, now - last);
			last = now;
		}
		return worst;
	})()`)
	t.Logf("first paint of %d spans after %.0f ms; %d rows exist; the longest frame while scrolling took %.0f ms", spans, paint, rows, worst)
	if paint > 2000 || worst > 500 {
		t.Errorf("too slow to be pleasant: %.0f ms to paint, %.0f ms for a frame", paint, worst)
	}
	if rows > 100 {
		t.Errorf("%d rows exist, though few can be seen", rows)
	}
	p.until(`[...document.querySelectorAll("[data-span]")].some((r) => Number(r.getAttribute("aria-rowindex")) === 1001)`)
	if over := js[int](p, "document.documentElement.scrollWidth - innerWidth"); over > 0 {
		t.Errorf("the page is %d pixels wider than the window", over)
	}
}

func TestTheExplorersListStaysUsableUnderLoad(t *testing.T) {
	browser := startBrowser(t)
	address, send := inProcess(t)
	request := func() {
		raw, _ := hex.DecodeString(newTraceID())
		id := hex.EncodeToString(raw)
		root := spanOf(id, "", 1, "GET", 20*time.Millisecond, 20*time.Millisecond)
		root["attributes"] = []object{attribute("server.address", "uservice1.localhost")}
		send(object{"resourceSpans": []object{resourceSpans("gateway", root, spanOf(id, fmt.Sprintf("%016x", 2), 2, "ReverseProxy", 19*time.Millisecond, 18*time.Millisecond))}})
	}
	for range 60 {
		request()
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(5 * time.Millisecond) // 200 a second
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				request()
			}
		}
	}()
	defer func() { close(stop); <-stopped }()

	p := open(t, browser, address, 1280)
	p.until(`document.querySelectorAll("#list a").length === 50`)
	first := js[string](p, `document.querySelector("#list a").dataset.id`)
	p.until(fmt.Sprintf(`document.querySelector("#list a").dataset.id !== %q`, first)) // it updates by itself
	held := js[string](p, `(() => { const a = document.querySelectorAll("#list a")[4]; a.focus(); return a.dataset.id; })()`)
	p.until(`!document.querySelector("#newer").hidden`) // newer ones are announced, and do not push
	worst := js[float64](p, `(async () => {
		let worst = 0, last = await new Promise(requestAnimationFrame);
		for (const end = last + 4000; last < end;) {
			const now = await new Promise(requestAnimationFrame);
			worst = Math.max(worst, now - last);
			last = now;
		}
		return worst;
	})()`)
	t.Logf("with 200 requests a second the longest frame took %.0f ms", worst)
	if worst > 500 {
		t.Errorf("the page stood still for %.0f ms", worst)
	}
	if now := js[string](p, `document.activeElement.dataset.id`); now != held {
		t.Errorf("the focus moved from %s to %s", held, now)
	}
	if at := js[int](p, `[...document.querySelectorAll("#list a")].indexOf(document.activeElement)`); at != 4 {
		t.Errorf("the row in hand moved from place 4 to %d", at)
	}
	p.press(kb.ArrowDown)
	p.until(`[...document.querySelectorAll("#list a")].indexOf(document.activeElement) === 5`)
	p.click("#newer")
	p.until(fmt.Sprintf(`document.querySelector('#list a').dataset.id !== %q && document.querySelectorAll("#list li").length <= 51`, first))
	if chips := p.texts("#list .chip.dark"); len(chips) == 0 || chips[0] != "uservice1" {
		t.Errorf("the service that was asked for is shown as %q", chips)
	}
}

func TestTheExplorerSaysWhenTheStoreIsGone(t *testing.T) {
	browser := startBrowser(t)
	store := collector.New(collector.Options{})
	var gone sync.Map
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, is := gone.Load("gone"); is {
			panic(http.ErrAbortHandler)
		}
		store.APIHandler().ServeHTTP(w, r)
	}))
	defer api.Close()
	tempoURL, err := url.Parse(api.URL)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(explorer.New(explorer.Options{Tempo: tempoURL, Gateway: tempoURL}))
	defer server.Close()
	p := open(t, browser, server.URL, 1280)
	p.until(`!document.querySelector("#list-empty").hidden`)
	gone.Store("gone", true)
	p.until(`document.querySelector("#list-trouble").innerText.includes("Is it running?")`)
	p.until(`document.querySelector("#store").classList.contains("down")`)
	gone.Delete("gone")
	p.until(`document.querySelector("#list-trouble").hidden && document.querySelector("#store").classList.contains("up")`)
	// The browser itself writes every 502 to the console; that is all that it may say here.
	p.mu.Lock()
	p.said = slices.DeleteFunc(p.said, func(s string) bool { return strings.Contains(s, "502") })
	p.mu.Unlock()
}

// TestTheExplorerShowsEachFault breaks the telemetry on the page, in every way that there is, and looks for the symptom.
// It has a stack of its own, because the other tests want theirs whole.
func TestTheExplorerShowsEachFault(t *testing.T) {
	browser := startBrowser(t)
	d, err := testbed.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // after the pages are closed
		if err := d.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	const hops = `[...document.querySelectorAll(".ledger .hop:not(.loose)")].map((h) => h.dataset.to + " " + h.dataset.action).join()`
	const spans = `document.querySelectorAll(".detail > .card [data-span]").length`
	const whole = "gateway started,uservice3 continued,uservice4 continued"
	symptoms := map[string]struct {
		spans int    // of the trace that is open
		hops  string // what the ledger says
		shows string // an expression that is true
	}{
		"drop-header":         {5, "gateway started,uservice3 not-received,uservice4 continued", `true`},
		"malformed-header":    {5, "gateway started,uservice3 ignored-malformed,uservice4 continued", `true`},
		"not-sampled":         {0, whole, `document.querySelector(".answer").innerText.includes("not sampled")`},
		"other-format":        {5, "gateway started,uservice3 continued,uservice4 ignored-format", `document.querySelector(".mystery a")?.textContent === "Open the other half"`},
		"dead-exporter":       {4, whole, `document.querySelector(".wf-note")?.textContent === "parent missing"`},
		"no-service-name":     {7, whole, `[...document.querySelectorAll(".legend-name")].some((n) => n.textContent === "unknown_service:uservice3")`},
		"killed-before-flush": {5, whole, `document.querySelector(".mystery")?.innerText.includes("uservice4 is instrumented, yet no span of it is here")`},
	}
	p := open(t, browser, d.Explorer, 1280)
	p.until(`document.querySelector("[data-fault]")`)
	names := js[[]string](p, `[...document.querySelectorAll("[data-fault]")].map((b) => b.dataset.fault)`)
	if len(names) != len(symptoms) {
		t.Errorf("the page offers %q", names)
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			want, ok := symptoms[name]
			if !ok {
				t.Fatal("nobody knows the symptom")
			}
			p := open(t, browser, d.Explorer, 1280)
			p.until(`document.querySelector("[data-fault]")`)
			js[any](p, fmt.Sprintf(`void document.querySelector('[data-fault="%s"]').click()`, name))
			p.until(fmt.Sprintf(`document.querySelector('[data-fault="%s"]').getAttribute("aria-pressed") === "true" && !document.querySelector("#fault-banner").hidden`, name))
			p.call("uservice3")
			p.until(fmt.Sprintf(`%s === %d && (%s)`, spans, want.spans, want.shows))
			p.until(hops + fmt.Sprintf(".includes(%q)", want.hops))
			p.click("#fault-banner button")
			p.until(`document.querySelector("#fault-banner").hidden`)
			p.call("uservice3")
			p.until(spans + " === 7")
			p.until(hops + fmt.Sprintf(" === %q", whole))
		})
	}
}
