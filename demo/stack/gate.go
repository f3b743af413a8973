package stack

import (
	"context"
	"net/http"
	"slices"

	"example.com/grafana-tempo-go-demo/demo/topology"
)

// places is how many requests the gate has room for: more than there ever are. Each request for an
// instrumented service takes one, and whoever changes services takes all: requests under way are
// answered first, and those that come meanwhile wait.
const places = 1 << 30

// guard lets requests into the gateway, those for instrumented services through the gate.
func (s *Stack) guard(w http.ResponseWriter, r *http.Request) {
	host := topology.HostName(r.Host)
	if !slices.ContainsFunc(s.services, func(svc *instance) bool { return svc.Instrumented && svc.Host() == host }) {
		s.gateway.ServeHTTP(w, r)
		return
	}
	if s.gate.Acquire(r.Context(), 1) != nil {
		return // the client is gone
	}
	defer s.leave() // the proxy may panic to break an answer off
	s.gateway.ServeHTTP(w, r)
}

// leave gives a request's place back. If the active fault kills a service, the last request out
// closes the gate before its answer is complete: a client that waits for that finds it closed.
func (s *Stack) leave() {
	f := s.fault.Load()
	if f.kills == "" || s.alive.Err() != nil || !s.gate.TryAcquire(places-1) {
		s.gate.Release(1)
		return
	}
	s.running.Go(func() {
		defer s.openGate()
		s.killAndStartAgain(f)
	})
}

// closeGate waits until nobody is inside and nobody else changes services, or until ctx or the demo
// ends.
func (s *Stack) closeGate(ctx context.Context) error {
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.alive, cancel)()
	err := s.gate.Acquire(waiting, places)
	if s.alive.Err() == nil {
		return err
	}
	if err == nil { // it closed as the stop began
		s.openGate()
	}
	return errStopping
}

func (s *Stack) openGate() { s.gate.Release(places) }
