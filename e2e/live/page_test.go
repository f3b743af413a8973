package live

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

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

// page is a tab. It fails the test if it writes to the console or sends a request to another host.
type page struct {
	t    *testing.T
	ctx  context.Context
	mu   sync.Mutex
	said []string // on the console
	sent []string // URLs
	done []network.RequestID
}

// open opens an address in a new tab of the given width.
func open(t *testing.T, browser context.Context, address string, width int64) *page {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	p := &page{t: t, ctx: ctx}
	p.must(chromedp.Listen(ctx, func(event any) {
		p.mu.Lock()
		defer p.mu.Unlock()
		switch e := event.(type) {
		case *network.EventRequestWillBeSent:
			p.sent = append(p.sent, e.Request.URL)
		case *network.EventLoadingFinished:
			p.done = append(p.done, e.RequestID)
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
	p.width(width)
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

// width resizes the window.
func (p *page) width(pixels int64) {
	p.t.Helper()
	_, err := chromedp.Call(p.ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: pixels, Height: 900, DeviceScaleFactor: 1})
	p.must(err)
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
	for { // the page may replace what is about to be clicked
		err := chromedp.Do(ctx, chromedp.Click(chromedp.CSS(selector)))
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			p.t.Fatalf("click %s: %v", selector, err)
		}
	}
}

func (p *page) press(keys string) {
	p.t.Helper()
	p.must(chromedp.Do(p.ctx, chromedp.KeyEvent(keys)))
}

// answers returns all that the page was sent since it was opened, its own files too.
func (p *page) answers() string {
	p.t.Helper()
	p.mu.Lock()
	done := slices.Clone(p.done)
	p.mu.Unlock()
	var all strings.Builder
	for _, id := range done {
		res, err := chromedp.Call(p.ctx, network.GetResponseBody, network.GetResponseBodyParams{RequestID: id})
		p.must(err)
		all.Write(res.Body)
	}
	return all.String()
}

// texts returns the text of each element.
func (p *page) texts(selector string) []string {
	p.t.Helper()
	return js[[]string](p, fmt.Sprintf("[...document.querySelectorAll(%q)].map((e) => e.textContent.trim())", selector))
}

// tree writes the waterfall, a line for each span, indented by its level; any proxy is called
// <proxy>.
func (p *page) tree() string {
	p.t.Helper()
	return js[string](p, `[...document.querySelectorAll(".detail > .card [data-span]")]
		.sort((a, b) => a.ariaRowIndex - b.ariaRowIndex)
		.map((r) => "  ".repeat(r.ariaLevel - 1) + r.querySelector(".wf-service").textContent.replace(/^(gateway|traefik)$/, "<proxy>") + " " + r.querySelector(".wf-span").textContent + (r.querySelector(".wf-error") ? " error" : ""))
		.join("\n")`)
}

// call presses the button of a service and waits until the page shows the trace of this call.
func (p *page) call(service string) {
	p.t.Helper()
	p.until(`document.querySelector("#where").textContent`) // the buttons work
	before := js[string](p, "location.pathname")
	p.click(`.caller[data-service="` + service + `"] button`)
	p.until(fmt.Sprintf(`location.pathname.startsWith("/trace/") && location.pathname !== %q`, before))
}

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
