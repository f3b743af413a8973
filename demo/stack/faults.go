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

// deadEndpoint is where nobody listens: no machine runs the service of port 1 any more.
const deadEndpoint = "http://127.0.0.1:1"

// fault is how the runner breaks the telemetry on purpose. Package lab has what it looks like.
type fault struct {
	env []setting
	// tamper changes what leaves the gateway; nil leaves it alone.
	tamper func(http.Header)
	// unsampled makes the gateway sample nothing.
	unsampled bool
	// kills names a service to kill and start again after the requests that it may serve.
	kills string
}

// setting overrules a variable of a service; an empty value removes it.
type setting struct{ service, variable, value string }

// contextHeaders are those that carry a trace.
var contextHeaders = []string{"Uber-Trace-Id", "Traceparent", "Tracestate"}

// faults are by the names of lab.Faults.
var faults = map[string]fault{
	"drop-header": {tamper: func(h http.Header) {
		for _, name := range contextHeaders {
			h.Del(name)
		}
	}},
	"malformed-header": {tamper: func(h http.Header) {
		for _, name := range contextHeaders {
			if value := h.Get(name); value != "" {
				h.Set(name, strings.NewReplacer(":", "%3A", "-", "%2D").Replace(value))
			}
		}
	}},
	"not-sampled": {unsampled: true, env: []setting{
		{topology.Uservice3, "OTEL_TRACES_SAMPLER", "parentbased_always_on"},
		{topology.Uservice4, "OTEL_TRACES_SAMPLER", "parentbased_always_on"},
	}},
	"other-format": {env: []setting{
		{topology.Uservice3, "OTEL_PROPAGATORS", "jaeger"},
		{topology.Uservice4, "OTEL_PROPAGATORS", "tracecontext"},
	}},
	"dead-exporter": {env: []setting{
		{topology.Uservice3, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", deadEndpoint},
		// It gives up, and says so, after a second.
		{topology.Uservice3, "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "1000"},
	}},
	"no-service-name": {env: []setting{{topology.Uservice3, "OTEL_SERVICE_NAME", ""}}},
	"killed-before-flush": {
		env:   []setting{{topology.Uservice4, "OTEL_BSP_SCHEDULE_DELAY", "600000"}},
		kills: topology.Uservice4,
	},
}

// active is the fault that is on.
type active struct {
	fault
	name   string // of lab.Faults; empty for none
	secret bool   // nobody is told the name
}

// String is what the log may say of it.
func (f *active) String() string {
	if f.secret {
		return lab.Random
	}
	return cmp.Or(f.name, "none")
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
	if s.fault.Load().kills == "" || s.alive.Err() != nil || !s.gate.TryLock() {
		return
	}
	s.running.Go(func() {
		defer s.gate.Unlock()
		s.killAndStartAgain(s.fault.Load())
	})
}

// Faults breaks and mends the telemetry of the running stack.
func (s *Stack) Faults() *lab.Lab { return s.lab }

// faultSwitch is the stack as the lab sees it.
type faultSwitch struct{ *Stack }

func (s faultSwitch) Active() (name string, secret bool) {
	f := s.fault.Load()
	return f.name, f.secret
}

// Set changes what has to be changed and nothing else: the gateway's part in place, and the
// services whose environment differs by starting them again on their ports, while the gate is
// closed, so that no request is lost. What goes past the gateway is not guarded.
func (s faultSwitch) Set(name string, secret bool) error {
	f := &active{faults[name], name, secret}
	s.gate.Lock()
	defer s.gate.Unlock()
	if s.alive.Err() != nil {
		return errStopping
	}
	if err := s.apply(f); err != nil {
		return fmt.Errorf("change to fault %s: %w", f, err)
	}
	s.log.Warn("telemetry", "fault", f.String())
	return nil
}

// apply makes f the active fault. The gate is closed.
func (s *Stack) apply(f *active) error {
	var change []*instance
	before := s.fault.Load()
	secret := f.secret || before.secret // and so is which services need a change
	for _, svc := range s.services {
		differs := !maps.Equal(s.environment(svc, before), s.environment(svc, f))
		if svc.process.Ended() || differs || secret && svc.Instrumented {
			change = append(change, svc)
		}
	}
	s.gateway.CloseIdleConnections()
	if err := s.stopServices(s.alive, change); err != nil {
		s.log.Warn("stop", "error", err.Error()) // it is gone all the same, and its successor starts afresh
	}
	s.fault.Store(f)
	err := s.startServices(s.alive, change)
	if err != nil && s.alive.Err() == nil {
		err = fmt.Errorf("%w; the next change tries again", err)
	}
	return err
}

// killAndStartAgain restarts the service that the active fault kills. The gate is closed.
func (s *Stack) killAndStartAgain(f *active) {
	svc := s.find(f.kills)
	if svc.process.Ended() {
		return
	}
	svc.process.Kill()
	if !f.secret {
		s.log.Warn("killed before it could send its spans; it starts again", "service", f.kills, "fault", f.name)
	}
	if err := s.startServices(s.alive, []*instance{svc}); err != nil && s.alive.Err() == nil {
		s.died(f.kills, "it did not start again: "+err.Error())
	}
}
