package stack

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

func TestGate(t *testing.T) {
	rig := func(held func(func())) (*gate, *httptest.Server, chan struct{}) {
		release := make(chan struct{})
		g := &gate{
			next: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/slow" {
					<-release
				}
			}),
			guarded:       func(r *http.Request) bool { return r.URL.Path != "/plain" },
			holdWhenEmpty: func() bool { return held != nil },
			held:          held,
		}
		g.changed = sync.NewCond(&g.mu)
		srv := httptest.NewServer(g)
		t.Cleanup(srv.Close)
		return g, srv, release
	}
	inside := func(g *gate) int { g.mu.Lock(); defer g.mu.Unlock(); return g.inside }
	asked := func(url string) chan error {
		done := make(chan error, 1)
		go func() {
			res, err := http.Get(url)
			if err == nil {
				res.Body.Close()
			}
			done <- err
		}()
		return done
	}

	t.Run("requests wait while it is held, others pass", func(t *testing.T) {
		g, srv, _ := rig(nil)
		first, second := g.hold(), g.hold()
		waiting := asked(srv.URL)
		if err := <-asked(srv.URL + "/plain"); err != nil {
			t.Error(err)
		}
		first()
		select {
		case <-waiting:
			t.Error("passed though it is held")
		case <-time.After(20 * time.Millisecond):
		}
		second()
		if err := <-waiting; err != nil {
			t.Error(err)
		}
	})
	t.Run("a client that hangs up waits no longer", func(t *testing.T) {
		g, _, _ := rig(nil)
		defer g.hold()()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if g.enter(ctx) == nil {
			t.Error("it is inside")
		}
	})
	t.Run("it tells when it is empty", func(t *testing.T) {
		g, srv, release := rig(nil)
		slow := asked(srv.URL + "/slow")
		waitFor(t, "request inside", func() bool { return inside(g) == 1 })
		alive, end := context.WithCancel(t.Context())
		gone, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("the page is closed"))
		if err := g.waitEmpty(gone, alive, time.Minute); err == nil || err.Error() != "the page is closed" {
			t.Errorf("%v", err)
		}
		if err := g.waitEmpty(t.Context(), alive, time.Millisecond); err != nil {
			t.Errorf("after the limit: %v", err)
		}
		empty := make(chan error)
		go func() { empty <- g.waitEmpty(t.Context(), alive, time.Minute) }()
		close(release)
		if err := <-empty; err != nil {
			t.Error(err)
		}
		<-slow
		if err := g.enter(t.Context()); err != nil {
			t.Fatal(err)
		}
		end()
		if err := g.waitEmpty(t.Context(), alive, time.Minute); !errors.Is(err, errStopping) {
			t.Errorf("%v", err)
		}
	})
	t.Run("the last one out has it held", func(t *testing.T) {
		holds := make(chan func(), 1)
		g, srv, _ := rig(func(release func()) { holds <- release })
		if err := <-asked(srv.URL); err != nil {
			t.Error(err)
		}
		release := <-holds
		waiting := asked(srv.URL)
		waitFor(t, "hold", func() bool { g.mu.Lock(); defer g.mu.Unlock(); return g.holds == 1 && g.inside == 0 })
		release()
		if err := <-waiting; err != nil {
			t.Error(err)
		}
	})
}
