package stack

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// gate stands before the instrumented services: it can hold requests that come, and knows when those
// inside are done.
type gate struct {
	next http.Handler
	// guarded reports whether a request is for one of the services that may be started again.
	guarded func(*http.Request) bool
	// holdWhenEmpty is asked when the last request has left, whether to hold the gate; if so, held is
	// called, which has to release it.
	holdWhenEmpty func() bool
	held          func(release func())

	mu     sync.Mutex
	holds  int
	inside int
	opened chan struct{} // closed when the last hold is gone; nil while there is none
	empty  chan struct{} // closed when no request is inside; nil if nobody waits for that
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !g.guarded(r) {
		g.next.ServeHTTP(w, r)
		return
	}
	if !g.enter(r.Context()) {
		return // the client is gone
	}
	defer g.leave() // the proxy may panic to break an answer off
	g.next.ServeHTTP(w, r)
}

// enter waits while the gate is held, and reports whether the request is inside then.
func (g *gate) enter(ctx context.Context) bool {
	for {
		g.mu.Lock()
		if g.holds == 0 {
			g.inside++
			g.mu.Unlock()
			return true
		}
		opened := g.opened
		g.mu.Unlock()
		select {
		case <-opened:
		case <-ctx.Done():
			return false
		}
	}
}

func (g *gate) leave() {
	g.mu.Lock()
	g.inside--
	if g.inside > 0 {
		g.mu.Unlock()
		return
	}
	if g.empty != nil {
		close(g.empty)
		g.empty = nil
	}
	// The gate is held before this request's answer is complete, so that a client who waits for the
	// answer finds it held.
	hold := g.holds == 0 && g.holdWhenEmpty()
	if hold {
		g.addHold()
	}
	g.mu.Unlock()
	if hold {
		g.held(g.release)
	}
}

// hold lets no request in until release is called, once.
func (g *gate) hold() (release func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.addHold()
	return g.release
}

func (g *gate) addHold() {
	if g.holds++; g.holds == 1 {
		g.opened = make(chan struct{})
	}
}

func (g *gate) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.holds--; g.holds == 0 {
		close(g.opened)
		g.opened = nil
	}
}

// waitEmpty waits until no request is inside, but not longer than limit for a client that does not
// take its answer: the service deals with it when it stops. The error is that of ctx, or that the
// stack stops because alive has ended.
func (g *gate) waitEmpty(ctx, alive context.Context, limit time.Duration) error {
	g.mu.Lock()
	if g.inside == 0 {
		g.mu.Unlock()
		return nil
	}
	if g.empty == nil {
		g.empty = make(chan struct{})
	}
	empty := g.empty
	g.mu.Unlock()
	select {
	case <-empty:
	case <-time.After(limit):
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-alive.Done():
		return errStopping
	}
	return nil
}
