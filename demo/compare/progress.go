package compare

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// progress shows how far it is: a bar that rewrites itself on a terminal, a line for each step elsewhere.
type progress struct {
	out   io.Writer
	live  bool
	total time.Duration // planned

	stop chan struct{}
	done sync.WaitGroup

	mu     sync.Mutex
	past   time.Duration // planned for the steps that are over
	label  string
	length time.Duration // planned for this step
	begun  time.Time
}

func newProgress(out io.Writer, live bool, total time.Duration) *progress {
	p := &progress{out: out, live: live, total: total, stop: make(chan struct{}), begun: time.Now()}
	fmt.Fprintf(out, "this takes about %s\n", total.Round(time.Second))
	if live {
		p.done.Go(func() {
			tick := time.NewTicker(200 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-p.stop:
					return
				case now := <-tick.C:
					fmt.Fprint(p.out, "\r\x1b[K"+p.bar(now))
				}
			}
		})
	}
	return p
}

// step begins the next step, for which so much time is planned.
func (p *progress) step(label string, length time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.past += p.length
	p.label, p.length, p.begun = label, length, time.Now()
	if !p.live {
		fmt.Fprintf(p.out, "%3.0f %%  %s\n", 100*p.share(p.begun), label)
	}
}

// share is how much of it is over, from 0 to 1. A step that takes longer than planned stays at its end.
func (p *progress) share(now time.Time) float64 {
	if p.total <= 0 {
		return 0
	}
	return min(1, float64(p.past+min(p.length, now.Sub(p.begun)))/float64(p.total))
}

// bar is the line on a terminal: no longer than 78 columns, as one that wraps could not be rewritten.
func (p *progress) bar(now time.Time) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	const width = 20
	share := p.share(now)
	full := int(share * width)
	line := fmt.Sprintf("[%s%s] %3.0f %%  %s", strings.Repeat("#", full), strings.Repeat(".", width-full), 100*share, p.label)
	return line[:min(len(line), 78)]
}

// end takes the bar away.
func (p *progress) end() {
	close(p.stop)
	p.done.Wait()
	if p.live {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}
