package story

import (
	"cmp"
	"slices"

	"example.com/grafana-tempo-go-demo/demo/topology"
)

// Dark is what a trace leaves unexplained.
type Dark struct {
	Pieces []Interval `json:"pieces"`
	Time   Time       `json:"time"` // the sum of them
	// Span is the index of the longest call of somebody of whom the trace has no span; -1 for none.
	Span int `json:"span"`
	// Name is who that is, as far as anything says.
	Name string `json:"name"`
	// Missing is a service of the demo of which the trace has no span; empty if it is none.
	Missing string `json:"missing,omitempty"`

	call      *Span
	service   *topology.Service // Missing
	elsewhere string            // the trace that its answer named, if it was another
}

// darkness returns nil if all is told.
func (t *Trace) darkness() *Dark {
	d := &Dark{Pieces: t.unexplained, Time: length(t.unexplained), Span: -1}
	for _, s := range t.Spans {
		if s.Dark && (d.call == nil || s.Duration > d.call.Duration) {
			d.call, d.Span = s, s.Index
		}
	}
	if d.call == nil {
		if d.Time == 0 {
			return nil
		}
		return d
	}
	name := topology.Upstreams()[d.call.Service]
	if IsRelay(d.call.Service) {
		name = t.AskedFor()
	}
	if name != "" && !slices.ContainsFunc(t.Services, func(s Service) bool { return s.Name == name }) {
		d.service, d.Missing = serviceNamed(name), name
	}
	d.Name = cmp.Or(name, d.call.text("peer.service", "server.address"), "the other side")
	for _, a := range d.call.Answers {
		if a.TraceID != t.ID {
			d.elsewhere = a.TraceID
			break
		}
	}
	return d
}

// plain reports whether somebody is missing who sends no spans by design.
func (d *Dark) plain() bool { return d.service != nil && !d.service.Instrumented }

// missing reports whether somebody was called who may have made spans, of which none is here.
func (t *Trace) missing() bool { return t.Dark != nil && t.Dark.call != nil && !t.Dark.plain() }

// Complete reports whether all of a trace has arrived: the parent of every span, and for every HTTP call
// that was answered a span of who answered. That is enough: a process sends its spans as they end, so
// those inside a server's came before it. A trace that calls a service without instrumentation never is.
func (t *Trace) Complete() bool {
	return !slices.ContainsFunc(t.Spans, func(s *Span) bool { return s.Orphan || s.Dark && s.Answered() })
}
