package tour

import (
	"time"

	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/story"
	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/demo/visit"
)

// Report is what `demo tour -json` prints, one object on standard output. Times are milliseconds.
type Report struct {
	// Plain is the call of uservice1, of which an outsider knows no more than this.
	Plain *visit.Answer `json:"plain"`
	// Instrumented is the call of uservice3.
	Instrumented *visit.Answer `json:"instrumented"`
	// Trace is what the collector received of the second call.
	Trace Trace `json:"trace"`
	// Ledger says of both calls which way the propagation header went.
	Ledger Ledger `json:"ledger"`

	told []*story.Trace // what Trace is made of, and that of Plain, if it was found
}

// Ledger has the two calls' entries in the hop ledger, in the shape of GET /api/ledger.
type Ledger struct {
	Plain        *ledger.Request `json:"plain"`
	Instrumented *ledger.Request `json:"instrumented"`
}

// Trace is a trace as a flat list, parents before their children.
type Trace struct {
	ID         string  `json:"id"`
	DurationMS float64 `json:"duration_ms"`
	// Complete reports whether all spans were there when it was read; see tempo.Trace.Complete.
	Complete bool   `json:"complete"`
	Spans    []Span `json:"spans"`
}

// Span is a span of a Trace.
type Span struct {
	*tempo.Span
	Depth      int     `json:"depth"`    // 0 for the root
	StartMS    float64 `json:"start_ms"` // since the trace's start
	DurationMS float64 `json:"duration_ms"`
	Events     []Event `json:"events,omitempty"`
}

// Event is an event of a Span.
type Event struct {
	tempo.Event
	AtMS float64 `json:"at_ms"` // since the trace's start
}

// flatten makes the report's Trace of the tree.
func flatten(t *story.Trace, complete bool) Trace {
	flat := Trace{ID: t.ID, DurationMS: ms(t.Duration), Complete: complete}
	for _, s := range t.Spans {
		span := Span{Span: s.Span, Depth: s.Depth, StartMS: ms(s.Start), DurationMS: ms(s.Duration)}
		for i, e := range s.Events {
			span.Events = append(span.Events, Event{s.Span.Events[i], ms(e.At)})
		}
		flat.Spans = append(flat.Spans, span)
	}
	return flat
}

// ms is a time in milliseconds, to the microsecond.
func ms(t story.Time) float64 { return float64(time.Duration(t).Microseconds()) / 1000 }
