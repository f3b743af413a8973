// Command pictures makes the screenshots in docs/pictures from a running demo:
//
//	go run ./demo               in one terminal
//	go run ./e2e/pictures       in another, at the repository's root
//
// It needs Chromium.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"example.com/grafana-tempo-go-demo/e2e/chrome"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "pictures:", err)
		os.Exit(1)
	}
}

// picture is one file.
type picture struct {
	name  string // without .png
	dark  bool
	width int64 // of the window, in CSS pixels
	// steps are JavaScript: each is evaluated until it is true.
	steps []string
	// shows selects the elements that the picture shows, with everything between them; empty shows
	// the window.
	shows string
}

const (
	height  = 900 // of the window, in CSS pixels
	scale   = 1.5 // device pixels for a CSS pixel, for sharp text
	timeout = 30 * time.Second
)

// ask calls a service from the page and waits for its trace to be drawn.
func ask(service string, spans int) []string {
	return []string{
		`Boolean(window.asked ||= (document.querySelector('.caller[data-service="` + service + `"] button').click(), true))`,
		fmt.Sprintf(`location.pathname.startsWith("/trace/") && document.querySelector(".d-title")?.textContent === %q && document.querySelectorAll(".detail > .card [data-span]").length === %d`, service, spans),
		`Boolean(document.querySelector(".answer.good, .answer.bad"))`,
		`!(window.asked = false)`,
	}
}

// choose sets one of the page's radio buttons.
func choose(wish, value string) string {
	return `Boolean(document.querySelector('input[name=` + wish + `][value="` + value + `"]')?.click() ?? true)`
}

// open opens the details of a span.
func open(name string) string {
	return `Boolean([...document.querySelectorAll("[data-span]")].find((r) => r.querySelector(".wf-span").textContent === "` + name + `")?.click() ?? true) && Boolean(document.querySelector(".span-box .kv"))`
}

const (
	ready   = `Boolean(document.querySelector("#store.up") && !document.querySelector("#list .ghost"))`
	top     = `(scrollTo(0, 0), document.activeElement?.blur(), true)`
	home    = `Boolean((document.querySelector(".brand").click(), document.body.classList.contains("home")))`
	hops    = `document.querySelectorAll(".ledger .hop").length === %d`
	twin    = `document.querySelectorAll(".twin [data-span]").length === 7`
	listed  = `document.querySelectorAll("#list a").length >= 4`
	lines   = `document.querySelectorAll(".log-box [href]").length === 3`
	mapped  = `Boolean(document.querySelector('a[href="/map"]').click() ?? document.querySelectorAll("#map .node").length >= 5)`
	settled = `new Promise((done) => setTimeout(() => done(true), 400))` // transitions have ended
)

// pictures returns them in the order in which they are made: the first ones fill the list of the
// later ones.
func pictures() []picture {
	steps := func(groups ...any) []string {
		all := []string{ready}
		for _, g := range groups {
			switch g := g.(type) {
			case string:
				all = append(all, g)
			case []string:
				all = append(all, g...)
			}
		}
		return append(all, top, settled)
	}
	return []picture{
		{"waterfall-light", false, 1280, steps(ask("uservice3", 7)), ""},
		{"waterfall-dark", true, 1280, steps(ask("uservice3", 7)), ""},
		{"span-light", false, 1280, steps(ask("uservice3", 7), open("redis_call")), ".wf-card, .span-box"},
		{"mystery-light", false, 1280, steps(ask("uservice1", 2), twin), ".d-head, .twin"},
		{"ledger-light", false, 1280, steps(ask("uservice3", 7), fmt.Sprintf(hops, 3)), ".ledger"},
		{"ledger-plain-light", false, 1280, steps(ask("uservice1", 2), fmt.Sprintf(hops, 2)), ".ledger"},
		{"logs-light", false, 1280, steps(ask("uservice3", 7), lines), ".log-box"},
		{"error-light", false, 1280, steps(choose("fail", "database"), ask("uservice3", 7)), ""},
		{"error-dark", true, 1280, steps(choose("fail", "database"), ask("uservice3", 7)), ""},
		{"home-light", false, 1280, steps(home, listed), ".top, #list li:nth-child(4)"},
		{"home-dark", true, 1280, steps(home, listed), ".top, #list li:nth-child(4)"},
		{"map-light", false, 1280, steps(home, mapped), "#map"},
	}
}

func run(args []string, stdout io.Writer) error {
	fs := flag.NewFlagSet("pictures", flag.ContinueOnError)
	explorer := fs.String("explorer", "http://127.0.0.1:3000", "`URL` of the running explorer")
	out := fs.String("out", filepath.FromSlash("docs/pictures"), "`folder` for the pictures")
	if err := fs.Parse(args); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	browser, cancel, err := chrome.Start(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	if err := os.MkdirAll(*out, 0o755); err != nil {
		return err
	}
	for _, p := range pictures() {
		data, err := p.take(browser, *explorer)
		if err != nil {
			return fmt.Errorf("%s: %w (is the demo running? `go run ./demo` starts it)", p.name, err)
		}
		file := filepath.Join(*out, p.name+".png")
		if err := os.WriteFile(file, data, 0o644); err != nil {
			return err
		}
		fmt.Fprintf(stdout, "%s  %d kB\n", file, len(data)/1000)
	}
	return nil
}

// take makes one picture in a tab of its own.
func (p picture) take(browser context.Context, address string) ([]byte, error) {
	tab, cancel := chromedp.NewContext(browser)
	defer cancel()
	if err := chromedp.Do(tab); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(tab, timeout)
	defer cancel()
	scheme := "light"
	if p.dark {
		scheme = "dark"
	}
	if _, err := chromedp.Call(ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: p.width, Height: height, DeviceScaleFactor: scale,
	}); err != nil {
		return nil, err
	}
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	}); err != nil {
		return nil, err
	}
	if err := chromedp.Do(ctx, chromedp.Navigate(address)); err != nil {
		return nil, err
	}
	for _, step := range p.steps {
		if err := until(ctx, step); err != nil {
			return nil, err
		}
	}
	if p.shows == "" {
		return chromedp.Run(ctx, chromedp.CaptureScreenshot())
	}
	// The box around all of them, with a margin.
	box, err := chromedp.Run(ctx, chromedp.Evaluate[struct{ X, Y, W, H float64 }](fmt.Sprintf(`(() => {
		const all = [...document.querySelectorAll(%q)].filter((e) => e.offsetHeight).map((e) => e.getBoundingClientRect()), air = 14;
		const x = Math.max(0, Math.min(...all.map((b) => b.left)) - air), y = Math.max(0, Math.min(...all.map((b) => b.top)) + scrollY - air);
		return {x, y, w: Math.min(innerWidth, Math.max(...all.map((b) => b.right)) + air) - x, h: Math.max(...all.map((b) => b.bottom)) + scrollY + air - y};
	})()`, p.shows)))
	if err != nil {
		return nil, err
	}
	beyond := true
	res, err := chromedp.Call(ctx, page.CaptureScreenshot, page.CaptureScreenshotParams{
		Clip: &page.Viewport{X: box.X, Y: box.Y, Width: box.W, Height: box.H, Scale: 1}, CaptureBeyondViewport: &beyond,
	})
	if err != nil {
		return nil, err
	}
	return res.Data, nil
}

// until evaluates an expression, or the promise that it is, until it is true.
func until(ctx context.Context, expression string) error {
	for {
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool](expression, chromedp.EvalAwaitPromise))
		if err != nil {
			return fmt.Errorf("%s: %w", expression, err)
		}
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("never true: %s", expression)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
