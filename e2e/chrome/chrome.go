// Package chrome starts a headless Chromium for the browser tests and for the pictures in docs/. It
// is in this module so that the demo does not need its dependencies.
package chrome

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/chromedp/chromedp"
)

// ErrNone is what Start returns on a machine without Chromium.
var ErrNone = errors.New("no Chromium found: install it (on Debian: apt-get install chromium), or set CHROMIUM to its path")

// names are the names of Chromium and its relatives.
var names = []string{"chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "headless_shell"}

// find returns the path in the variable CHROMIUM, or else the first of the names found in PATH.
func find() (string, error) {
	if path := os.Getenv("CHROMIUM"); path != "" {
		return exec.LookPath(path)
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", ErrNone
}

// Start starts a browser with a new profile. It runs until the returned function is called; the
// context is for chromedp, and chromedp.NewContext makes a tab of it. The error is ErrNone if there
// is no browser.
func Start(ctx context.Context) (context.Context, context.CancelFunc, error) {
	path, err := find()
	if err != nil {
		return nil, nil, err
	}
	// chromedp's defaults: headless, a new profile, no background requests. The flags here turn off
	// more of those.
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path),
		chromedp.Flag("disable-gpu", true), chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // the sandbox does not work for root
	}
	ctx, cancelAllocator := chromedp.NewExecAllocator(ctx, options...)
	ctx, cancelBrowser := chromedp.NewContext(ctx)
	cancel := func() {
		cancelBrowser()
		cancelAllocator()
	}
	if err := chromedp.Do(ctx); err != nil {
		cancel()
		return nil, nil, fmt.Errorf("start %s: %w", path, err)
	}
	return ctx, cancel, nil
}
