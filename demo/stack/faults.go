package stack

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"example.com/grafana-tempo-go-demo/demo/lab"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// active is the fault that is on.
type active struct {
	lab.Fault
	secret bool // nobody is told its name
}

// tamper changes the headers that carry a trace, as the active fault wants it, when they leave the gateway.
func (s *Stack) tamper(h http.Header) {
	does := s.fault.Load().Gateway
	for _, name := range []string{"Uber-Trace-Id", "Traceparent", "Tracestate"} {
		switch value := h.Get(name); {
		case does == "drop":
			h.Del(name)
		case does == "damage" && value != "":
			h.Set(name, strings.NewReplacer(":", "%3A", "-", "%2D").Replace(value))
		}
	}
}

// guard lets requests into the gateway. Those for instrumented services hold the gate open. Whoever
// changes services closes it: requests under way are answered first, and those that come meanwhile
// wait.
func (s *Stack) guard(w http.ResponseWriter, r *http.Request) {
	host := topology.HostName(r.Host)
	if slices.ContainsFunc(s.services, func(svc *instance) bool { return svc.Instrumented && svc.Host() == host }) {
		s.gate.RLock()
		defer s.leave() // the proxy may panic to break an answer off
	}
	s.gateway.ServeHTTP(w, r)
}

// leave lets go of the gate. If the active fault kills a service, the last request out closes the
// gate before its answer is complete: a client that waits for that finds it closed.
func (s *Stack) leave() {
	s.gate.RUnlock()
	if s.fault.Load().Kills == "" || s.alive.Err() != nil || !s.gate.TryLock() {
		return
	}
	s.running.Go(func() {
		defer s.gate.Unlock()
		s.killAndStartAgain(s.fault.Load())
	})
}

// Faults breaks and mends the telemetry of the running stack.
func (s *Stack) Faults() *lab.Lab { return s.lab }

// change makes f the active fault. It changes what has to be changed and nothing else: the gateway's
// part in place, and the services whose environment differs by starting them again on their ports,
// while the gate is closed, so that no request is lost. What goes past the gateway is not guarded.
func (s *Stack) change(f lab.Fault, secret bool) error {
	s.gate.Lock()
	defer s.gate.Unlock()
	if s.alive.Err() != nil {
		return errStopping
	}
	before, after := s.fault.Load(), &active{f, secret}
	var restart []*instance
	for _, svc := range s.services {
		differs := !maps.Equal(s.environment(svc, before), s.environment(svc, after))
		// Which services need a change is part of a secret.
		if svc.process.Ended() || differs || svc.Instrumented && (secret || before.secret) {
			restart = append(restart, svc)
		}
	}
	s.gateway.CloseIdleConnections()
	if err := s.stopServices(s.alive, restart); err != nil {
		s.log.Warn("stop", "error", err.Error()) // it is gone all the same, and its successor starts afresh
	}
	s.fault.Store(after)
	name := cmp.Or(f.Name, "none")
	if secret {
		name = lab.Random
	}
	if err := s.startServices(s.alive, restart); err != nil {
		return fmt.Errorf("change to fault %s: %w; the next change tries again", name, err)
	}
	s.log.Warn("telemetry", "fault", name)
	return nil
}

// killAndStartAgain restarts the service that the active fault kills. The gate is closed.
func (s *Stack) killAndStartAgain(f *active) {
	svc := s.find(f.Kills)
	if svc.process.Ended() {
		return
	}
	svc.process.Kill()
	if !f.secret {
		s.log.Warn("killed before it could send its spans; it starts again", "service", svc.Name, "fault", f.Name)
	}
	if err := s.startServices(s.alive, []*instance{svc}); err != nil && s.alive.Err() == nil {
		s.died(svc.Name, "it did not start again: "+err.Error())
	}
}
