package stack

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// gate stands before the instrumented services: it can hold requests, and knows who is inside.
type gate struct {
	next http.Handler
	// guarded reports whether a request is for one of the services that may be started again.
	guarded func(*http.Request) bool
	// holdWhenEmpty says whether to hold the emptied gate. Held is called then, and releases it.
	holdWhenEmpty func() bool
	held          func(release func())

	mu      sync.Mutex
	holds   int
	inside  int
	changed *sync.Cond // holds or inside became less; its lock is mu
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !g.guarded(r) {
		g.next.ServeHTTP(w, r)
		return
	}
	if g.enter(r.Context()) != nil {
		return // the client is gone
	}
	defer g.leave() // the proxy may panic to break an answer off
	g.next.ServeHTTP(w, r)
}

// enter waits while the gate is held. Without an error the request is inside then.
func (g *gate) enter(ctx context.Context) error {
	return g.wait(ctx, func() bool {
		if g.holds > 0 {
			return false
		}
		g.inside++
		return true
	})
}

func (g *gate) leave() {
	g.mu.Lock()
	g.inside--
	// Before this request's answer is complete: a client that waits for it finds the gate held.
	hold := g.inside == 0 && g.holds == 0 && g.holdWhenEmpty()
	if hold {
		g.holds++
	}
	g.changed.Broadcast()
	g.mu.Unlock()
	if hold {
		g.held(g.release)
	}
}

// hold lets no request in until release is called, once.
func (g *gate) hold() (release func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.holds++
	return g.release
}

func (g *gate) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.holds--
	g.changed.Broadcast()
}

// waitEmpty waits until no request is inside, or until limit for clients that do not take their
// answers: the service deals with them when it stops. The error is ctx's, or that alive has ended.
func (g *gate) waitEmpty(ctx, alive context.Context, limit time.Duration) error {
	waiting, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	defer context.AfterFunc(alive, cancel)()
	_ = g.wait(waiting, func() bool { return g.inside == 0 })
	if alive.Err() != nil {
		return errStopping
	}
	return context.Cause(ctx)
}

// wait waits until ok, which is called under the lock, or returns the cause of ctx's end.
func (g *gate) wait(ctx context.Context, ok func() bool) error {
	defer context.AfterFunc(ctx, func() {
		g.mu.Lock() // not between a look at ctx and the wait that follows
		defer g.mu.Unlock()
		g.changed.Broadcast()
	})()
	g.mu.Lock()
	defer g.mu.Unlock()
	for !ok() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		g.changed.Wait()
	}
	return nil
}
