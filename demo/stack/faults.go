package stack

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strings"

	"example.com/grafana-tempo-go-demo/demo/lab"
	"example.com/grafana-tempo-go-demo/demo/process"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// deadEndpoint is where nobody listens: no machine runs the service of port 1 any more.
const deadEndpoint = "http://127.0.0.1:1"

// fault is how the runner breaks the telemetry on purpose. Package lab has what it looks like.
type fault struct {
	name   string // of lab.Faults; empty for none
	secret bool   // nobody is told the name
	// env overrules variables of services, by service; an empty value removes the variable.
	env map[string]map[string]string
	// tamper changes what leaves the gateway; nil leaves it alone.
	tamper func(http.Header)
	// unsampled makes the gateway sample nothing.
	unsampled bool
	// kills names a service to kill and start again after the requests that it may serve.
	kills string
}

// contextHeaders are those that carry a trace.
var contextHeaders = []string{"Uber-Trace-Id", "Traceparent", "Tracestate"}

// faults is the table; the first is none.
var faults = []*fault{
	{},
	{
		name: "drop-header",
		tamper: func(h http.Header) {
			for _, name := range contextHeaders {
				h.Del(name)
			}
		},
	},
	{
		name: "malformed-header",
		tamper: func(h http.Header) {
			for _, name := range contextHeaders {
				if value := h.Get(name); value != "" {
					h.Set(name, strings.NewReplacer(":", "%3A", "-", "%2D").Replace(value))
				}
			}
		},
	},
	{
		name:      "not-sampled",
		unsampled: true,
		env: map[string]map[string]string{
			topology.Uservice3: {"OTEL_TRACES_SAMPLER": "parentbased_always_on"},
			topology.Uservice4: {"OTEL_TRACES_SAMPLER": "parentbased_always_on"},
		},
	},
	{
		name: "other-format",
		env: map[string]map[string]string{
			topology.Uservice3: {"OTEL_PROPAGATORS": "jaeger"},
			topology.Uservice4: {"OTEL_PROPAGATORS": "tracecontext"},
		},
	},
	{
		name: "dead-exporter",
		env: map[string]map[string]string{topology.Uservice3: {
			"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": deadEndpoint,
			"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT":  "1000", // it gives up, and says so, after a second instead of ten
		}},
	},
	{
		name: "no-service-name",
		env:  map[string]map[string]string{topology.Uservice3: {"OTEL_SERVICE_NAME": ""}},
	},
	{
		name:  "killed-before-flush",
		env:   map[string]map[string]string{topology.Uservice4: {"OTEL_BSP_SCHEDULE_DELAY": "600000"}},
		kills: topology.Uservice4,
	},
}

// findFault returns a fault by name; no name is no fault.
func findFault(name string, secret bool) (*fault, error) {
	var names []string
	for _, f := range faults {
		if f.name == name {
			found := *f
			found.secret = secret
			return &found, nil
		}
		names = append(names, f.name)
	}
	return nil, fmt.Errorf("there is no fault %q: there are %s", name, strings.Join(names[1:], ", "))
}

func (f *fault) String() string {
	switch {
	case f.name == "":
		return "as it should be"
	case f.secret:
		return "broken on purpose"
	}
	return "broken on purpose: " + f.name
}

// Faults breaks and mends the telemetry of the running stack.
func (s *Stack) Faults() *lab.Lab { return s.lab }

type faultSwitch struct{ *Stack }

func (s faultSwitch) Active() (name string, secret bool) {
	f := s.fault.Load()
	return f.name, f.secret
}

// Set changes what has to be changed and nothing else: the gateway's part in place, and the
// services whose environment differs by starting them again on their ports. Requests for the
// instrumented services that come meanwhile wait at the gateway, and those under way are answered
// first, so that none is lost. What goes past the gateway is not guarded. Ctx ends the waiting
// only: a change that has begun is brought to its end.
func (s faultSwitch) Set(ctx context.Context, name string, secret bool) error {
	f, err := findFault(name, secret)
	if err != nil {
		return err
	}
	if err := s.lockChanges(ctx); err != nil {
		return err
	}
	defer s.unlockChanges()
	if err := s.apply(ctx, f); err != nil {
		return fmt.Errorf("change to %s: %w", f, err)
	}
	s.log.Warn("telemetry", "state", f.String())
	return nil
}

// apply makes f the active fault. The caller holds changeLock.
func (s *Stack) apply(ctx context.Context, f *fault) error {
	var change []*service
	secret := f.secret || s.fault.Load().secret // and so is which services need a change
	for _, svc := range s.services {
		if svc.process.Ended() || secret && svc.Instrumented || !maps.Equal(svc.env, s.environment(svc, f)) {
			change = append(change, svc)
		}
	}
	if len(change) > 0 {
		defer s.gate.hold()()
		if err := s.gate.waitEmpty(ctx, s.alive, process.Grace); err != nil {
			return err
		}
		s.gateway.CloseIdleConnections()
		if err := s.stopServices(s.graceful, change); err != nil {
			s.log.Warn("stop", "error", err.Error()) // it is gone all the same, and its successor starts afresh
		}
		if s.alive.Err() != nil {
			return errStopping
		}
	}
	s.fault.Store(f)
	if err := s.startServices(s.alive, change); err != nil {
		if s.alive.Err() != nil {
			return errStopping
		}
		return fmt.Errorf("%w; the next change tries again", err)
	}
	return nil
}

// killAndStartAgain restarts the service that the active fault kills. It is called with the gate
// held, when a request for an instrumented service has left the gateway, and no other is inside.
func (s *Stack) killAndStartAgain(release func()) {
	s.running.Go(func() {
		defer release()
		if s.lockChanges(s.alive) != nil {
			return
		}
		defer s.unlockChanges()
		f := s.fault.Load()
		svc := s.find(f.kills)
		if svc == nil || svc.process.Ended() { // the fault is another by now
			return
		}
		svc.process.Kill()
		if !f.secret {
			s.log.Warn("killed before it could send its spans; it starts again", "service", f.kills, "fault", f.name)
		}
		if err := s.startServices(s.alive, []*service{svc}); err != nil && s.alive.Err() == nil {
			s.died(f.kills, "it did not start again: "+err.Error())
		}
	})
}
