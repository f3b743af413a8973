package stack

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"example.com/grafana-tempo-go-demo/demo/lab"
)

// deadEndpoint is where nobody listens: port 1 is reserved for a service that no machine runs any more.
const deadEndpoint = "http://127.0.0.1:1"

// fault is one way to break the telemetry on purpose. Its texts are what the command line, the page and docs/lab.md tell;
// the tests hold the demo to them.
type fault struct {
	name string // of lab.Faults; empty for none
	// env overrules variables of services, by service; an empty value removes the variable.
	env map[string]map[string]string
	// tamper changes what leaves the gateway; nil leaves it alone.
	tamper func(http.Header)
	// unsampled makes the gateway sample nothing.
	unsampled bool
	// kills names a service that is killed, and started again, when the requests that it may have served are answered.
	kills string
}

// healthy is no fault at all.
var healthy = &fault{}

// faults is the table, in the order in which to try them.
func faults() []*fault {
	both := func(env map[string]string) map[string]map[string]string {
		return map[string]map[string]string{"uservice3": env, "uservice4": env}
	}
	return []*fault{
		{
			name: lab.DropHeader,
			tamper: func(h http.Header) {
				for _, name := range contextHeaders {
					h.Del(name)
				}
			},
		},
		{
			name: lab.MalformedHeader,
			tamper: func(h http.Header) {
				for _, name := range contextHeaders {
					if value := h.Get(name); value != "" {
						h.Set(name, strings.NewReplacer(":", "%3A", "-", "%2D").Replace(value))
					}
				}
			},
		},
		{
			name:      lab.NotSampled,
			unsampled: true,
			env:       both(map[string]string{"OTEL_TRACES_SAMPLER": "parentbased_always_on"}),
		},
		{
			name: lab.OtherFormat,
			env:  map[string]map[string]string{"uservice4": {"OTEL_PROPAGATORS": "tracecontext"}},
		},
		{
			name: lab.DeadExporter,
			env: map[string]map[string]string{"uservice3": {
				"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": deadEndpoint,
				"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT":  "1000", // it gives up, and says so, after a second instead of ten
			}},
		},
		{
			name: lab.NoServiceName,
			env:  map[string]map[string]string{"uservice3": {"OTEL_SERVICE_NAME": ""}},
		},
		{
			name:  lab.KilledBeforeFlush,
			env:   map[string]map[string]string{"uservice4": {"OTEL_BSP_SCHEDULE_DELAY": "600000"}},
			kills: "uservice4",
		},
	}
}

// contextHeaders are those that carry a trace.
var contextHeaders = []string{"Uber-Trace-Id", "Traceparent", "Tracestate"}

// findFault returns a fault by name; no name is no fault.
func findFault(name string) (*fault, error) {
	if name == "" {
		return healthy, nil
	}
	var names []string
	for _, f := range faults() {
		if f.name == name {
			return f, nil
		}
		names = append(names, f.name)
	}
	return nil, fmt.Errorf("there is no fault %q: there are %s", name, strings.Join(names, ", "))
}

// overrule returns a service's environment as the fault wants it.
func (f *fault) overrule(service string, env map[string]string) map[string]string {
	for name, value := range f.env[service] {
		if value == "" {
			delete(env, name)
		} else {
			env[name] = value
		}
	}
	return env
}

// Faults is the running stack as lab.Switch has it.
func (s *Stack) Faults() lab.Switch { return switchboard{s} }

type switchboard struct{ *Stack }

func (b switchboard) Active() string { return b.active.Load().name }

// Set changes what has to be changed and nothing else: the gateway's part in place, and the services whose environment
// differs by starting them again on their ports. Requests for the instrumented services that come meanwhile wait at the
// gateway, and those that are under way are answered first, so that none is lost. What goes past the gateway is not
// guarded. The context is for the waiting only: a change that has begun is brought to its end.
func (b switchboard) Set(ctx context.Context, name string) error {
	f, err := findFault(name)
	if err != nil {
		return err
	}
	s := b.Stack
	if err := s.takeTurn(ctx); err != nil {
		return err
	}
	defer s.giveTurn()
	if err := s.apply(ctx, f); err != nil {
		return fmt.Errorf("change to %s: %w", describe(f), err)
	}
	s.log.Warn("telemetry", "state", describe(f))
	return nil
}

func describe(f *fault) string {
	if f == healthy {
		return "as it should be"
	}
	return "broken on purpose: " + f.name
}

var errStopping = errors.New("the demo is stopping")

// takeTurn waits until nobody else changes which services run.
func (s *Stack) takeTurn(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("another change is under way: %w", context.Cause(ctx))
	case <-s.alive.Done():
		return errStopping
	}
	if s.alive.Err() != nil {
		s.giveTurn()
		return errStopping
	}
	return nil
}

func (s *Stack) giveTurn() { <-s.turn }

// apply makes f the active fault. It is the caller's turn.
func (s *Stack) apply(ctx context.Context, f *fault) error {
	var change []Service
	for _, svc := range s.o.Services {
		if c := s.children[svc.Name]; c == nil || c.ended() || !maps.Equal(c.own, s.environment(svc, f)) {
			change = append(change, svc)
		}
	}
	if len(change) > 0 {
		defer s.gate.hold()()
		if err := s.gate.empty(ctx, s.alive, Grace); err != nil {
			return err
		}
		s.gateway.CloseIdleConnections()
		for _, err := range s.stopServices(s.patience, change) {
			s.log.Warn("stop", "error", err.Error()) // it is gone all the same, and its successor starts afresh
		}
		if s.alive.Err() != nil {
			return errStopping
		}
	}
	s.active.Store(f)
	if err := s.startServices(s.alive, change); err != nil {
		if s.alive.Err() != nil {
			return errStopping
		}
		return fmt.Errorf("%w; the next change tries again", err)
	}
	return nil
}

// answered is called when a request for an instrumented service has left the gateway, with nobody else behind it, and the
// gate held: release opens it.
func (s *Stack) answered(release func()) {
	s.serving.Go(func() {
		defer release()
		if s.takeTurn(s.alive) != nil {
			return
		}
		defer s.giveTurn()
		f := s.active.Load()
		c := s.children[f.kills]
		if c == nil || c.ended() { // the fault is another by now
			return
		}
		c.expected.Store(true)
		kill(c.cmd.Process)
		<-c.done
		s.log.Warn("killed before it could send its spans; it starts again", "service", f.kills, "fault", f.name)
		i := slices.IndexFunc(s.o.Services, func(svc Service) bool { return svc.Name == f.kills })
		if err := s.startServices(s.alive, s.o.Services[i:i+1]); err != nil && s.alive.Err() == nil {
			s.died(Death{Part: f.kills, How: "it was killed on purpose, and did not start again: " + err.Error()})
		}
	})
}

// Of the gateway: the header's fate, and the sampler's decision, at this moment.

func (s *Stack) tamper(h http.Header) {
	if f := s.active.Load(); f.tamper != nil {
		f.tamper(h)
	}
}

// sampler is a sampler that can be told to sample nothing.
type sampler struct {
	sdktrace.Sampler
	off func() bool
}

func (s sampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	if s.off() {
		return sdktrace.NeverSample().ShouldSample(p)
	}
	return s.Sampler.ShouldSample(p)
}

// gate stands before the instrumented services: it can hold requests that come, and tell when those inside are done.
type gate struct {
	next http.Handler
	// guarded tells whether a request is for one of the services that may be started again.
	guarded func(*http.Request) bool
	// last is asked when the last one has left, whether the gate is to be held for a call of then.
	last func() bool
	then func(release func())

	mu     sync.Mutex
	holds  int
	inside int
	opened chan struct{} // closed when the last hold is gone; nil while there is none
	vacant chan struct{} // closed when nobody is inside any more; nil if nobody waits for that
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

// enter waits while the gate is held, and tells whether the request is inside then.
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
	if g.vacant != nil {
		close(g.vacant)
		g.vacant = nil
	}
	// Held before this request's answer is complete, so that a client who waits for it finds the gate held.
	if g.holds > 0 || !g.last() {
		g.mu.Unlock()
		return
	}
	g.addHold()
	g.mu.Unlock()
	g.then(g.release)
}

// hold lets nobody in until the function that it returns is called, once.
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

// empty waits until nobody is inside. A client that does not take its answer is not waited for longer than limit: the
// service deals with it when it stops. The error is that of ctx, or that the stack has been told to stop.
func (g *gate) empty(ctx, alive context.Context, limit time.Duration) error {
	g.mu.Lock()
	if g.inside == 0 {
		g.mu.Unlock()
		return nil
	}
	if g.vacant == nil {
		g.vacant = make(chan struct{})
	}
	vacant := g.vacant
	g.mu.Unlock()
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	select {
	case <-vacant:
	case <-timeout.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-alive.Done():
		return errStopping
	}
	return nil
}
