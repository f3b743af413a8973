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

	"example.com/grafana-tempo-go-demo/demo/explorer"
)

// deadEndpoint is where nobody listens: port 1 is reserved for a service that no machine runs any more.
const deadEndpoint = "http://127.0.0.1:1"

// fault is one way to break the telemetry on purpose. Its texts are what the command line, the page and docs/lab.md tell;
// the tests hold the demo to them.
type fault struct {
	explorer.Fault
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
			Fault: explorer.Fault{
				Name:  "drop-header",
				Title: "The proxy drops the propagation header",
				Symptom: "One request makes two traces. The one that uservice3 names has 5 spans and starts at uservice3; the other has " +
					"the gateway's 2 spans and ends there. In the ledger no propagation header leaves the gateway, and uservice3 has NOT RECEIVED one.",
				Diagnosis: "The gateway is in a trace and sends no header of it, so uservice3 takes itself for the first and starts a trace of its own.",
				Fix: "Let the proxy pass uber-trace-id on. Look for a list of allowed headers, for a rule that strips unknown ones, and for a " +
					"proxy whose own tracing is off or speaks another format.",
			},
			tamper: func(h http.Header) {
				for _, name := range contextHeaders {
					h.Del(name)
				}
			},
		},
		{
			Fault: explorer.Fault{
				Name:  "malformed-header",
				Title: "The proxy damages the propagation header",
				Symptom: "One request makes two traces, of 2 spans and of 5 spans, exactly as if the header were dropped. The ledger tells the " +
					"difference: a header arrived at uservice3, with %3A where its colons were, and is IGNORED MALFORMED.",
				Diagnosis: "Something on the way encodes the header as if it were part of a URL. A propagator does not guess: what it cannot read, it " +
					"treats as absent, without a word in the log.",
				Fix: "Compare the value that left with the one that arrived, find what rewrites headers in between, and have it keep the bytes as they are.",
			},
			tamper: func(h http.Header) {
				for _, name := range contextHeaders {
					if value := h.Get(name); value != "" {
						h.Set(name, strings.NewReplacer(":", "%3A", "-", "%2D").Replace(value))
					}
				}
			},
		},
		{
			Fault: explorer.Fault{
				Name:  "not-sampled",
				Title: "The proxy decides against sampling",
				Symptom: "All is answered, and no trace arrives: 0 spans. The service's page says \"not sampled\" and its traceresponse ends with 00. " +
					"In the ledger the trace is whole, from hop to hop CONTINUED, with the sampled flag 0.",
				Diagnosis: "The first in the chain decides, and the flag carries its decision. The gateway samples nothing, and the services follow it, as " +
					"they do with OTEL_TRACES_SAMPLER=parentbased_always_on. With always_on, which the demo sets otherwise, they would record " +
					"all the same, and the trace would lack its beginning.",
				Fix: "Raise the share that the proxy samples, in Traefik --tracing.samplerate. If some requests must be seen whatever their caller " +
					"decided, give that service a sampler that does not ask its parent.",
			},
			unsampled: true,
			env:       both(map[string]string{"OTEL_TRACES_SAMPLER": "parentbased_always_on"}),
		},
		{
			Fault: explorer.Fault{
				Name:  "other-format",
				Title: "uservice4 speaks another propagation format",
				Symptom: "One request makes two traces: 5 spans that end at other_uservice_call, and 2 spans that start at uservice4. The event " +
					"\"Got response!\" of other_uservice_call names the second trace. In the ledger a valid uber-trace-id arrives at uservice4 and is IGNORED FORMAT.",
				Diagnosis: "uservice4 runs with OTEL_PROPAGATORS=tracecontext and looks for traceparent only; uservice3 sends uber-trace-id only.",
				Fix: "Agree on a format. On the way from one to the other let every service read and write both, OTEL_PROPAGATORS=tracecontext,jaeger; " +
					"docs/propagation.md has the steps.",
			},
			env: map[string]map[string]string{"uservice4": {"OTEL_PROPAGATORS": "tracecontext"}},
		},
		{
			Fault: explorer.Fault{
				Name:  "dead-exporter",
				Title: "uservice3 exports to a port where nobody listens",
				Symptom: "The trace has a hole: 4 spans of 7, the gateway's and uservice4's, and those of uservice4 hang below a span that is not there. " +
					"The ledger is whole, CONTINUED at every hop. uservice3's log says \"telemetry does not reach the back end\".",
				Diagnosis: "Propagation works and export does not: they are two ways out of a process. uservice3's " +
					"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is wrong. Requests are answered as fast as ever, because export never stands in their way.",
				Fix: "Correct the endpoint, scheme and port included: http://<host>:4317 for OTLP over gRPC. Watch for the exporter's " +
					"complaint in every service's log; it is the only one who knows.",
			},
			env: map[string]map[string]string{"uservice3": {
				"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": deadEndpoint,
				"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT":  "1000", // it gives up, and says so, after a second instead of ten
			}},
		},
		{
			Fault: explorer.Fault{
				Name:  "no-service-name",
				Title: "uservice3 does not say its name",
				Symptom: "The trace is complete, with 7 spans, but three of them are by unknown_service:uservice3, with a colour of its own in the legend, " +
					"and a line of its own in the table of services. The ledger is whole. uservice3's log says \"traces will not name this service\", once, at its start.",
				Diagnosis: "OTEL_SERVICE_NAME is not set, and the SDK makes a name up from the program's. In the containers every program is called " +
					"service, so two such services could not be told apart.",
				Fix: "Set OTEL_SERVICE_NAME for every service. To find out who the unknown one is, look at its resource: process.pid, " +
					"process.executable.path, host.name.",
			},
			env: map[string]map[string]string{"uservice3": {"OTEL_SERVICE_NAME": ""}},
		},
		{
			Fault: explorer.Fault{
				Name:  "killed-before-flush",
				Title: "uservice4 is killed before it sends its spans",
				Symptom: "The answer is fine, and the trace has 5 spans of 7: below other_uservice_call, which was answered with 200 and a traceresponse, " +
					"there is nothing. The ledger is whole, CONTINUED at every hop. uservice4's log breaks off and begins anew.",
				Diagnosis: "uservice4 keeps its spans for 10 minutes before it sends a batch, OTEL_BSP_SCHEDULE_DELAY=600000, and is killed as soon as it " +
					"has answered. What was in its memory is lost. So it goes with every process that is killed, only with fewer spans.",
				Fix: "Stop processes with SIGTERM, let them flush on it as these do, and give them the time: a grace period longer than drain and " +
					"flush together. Keep the batches' delay short.",
			},
			env:   map[string]map[string]string{"uservice4": {"OTEL_BSP_SCHEDULE_DELAY": "600000"}},
			kills: "uservice4",
		},
	}
}

// contextHeaders are those that carry a trace.
var contextHeaders = []string{"Uber-Trace-Id", "Traceparent", "Tracestate"}

// Faults returns the ways in which the telemetry can be broken on purpose, in the order in which to try them.
func Faults() []explorer.Fault {
	var list []explorer.Fault
	for _, f := range faults() {
		list = append(list, f.Fault)
	}
	return list
}

// findFault returns a fault by name; no name is no fault.
func findFault(name string) (*fault, error) {
	if name == "" {
		return healthy, nil
	}
	var names []string
	for _, f := range faults() {
		if f.Name == name {
			return f, nil
		}
		names = append(names, f.Name)
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

// Faults is the running stack as explorer.Faults has it.
func (s *Stack) Faults() explorer.Faults { return switchboard{s} }

type switchboard struct{ *Stack }

func (b switchboard) List() []explorer.Fault { return Faults() }

func (b switchboard) Active() string { return b.active.Load().Name }

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
	return "broken on purpose: " + f.Name
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
		s.log.Warn("killed before it could send its spans; it starts again", "service", f.kills, "fault", f.Name)
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
