package tour

import (
	"time"

	"example.com/grafana-tempo-go-demo/demo/ledger"
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

	traces []*tempo.Trace // what Trace is made of, and that of Plain, if it was found
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
func flatten(t *tempo.Trace, complete bool) Trace {
	start, end := t.Bounds()
	flat := Trace{ID: t.ID, DurationMS: ms(end.Sub(start)), Complete: complete}
	level := map[string]int{}   // from 1
	for _, s := range t.Spans { // parents come before their children
		level[s.SpanID] = level[s.ParentID] + 1
		span := Span{Span: s, Depth: level[s.SpanID] - 1, StartMS: ms(s.Start.Sub(start)), DurationMS: ms(s.End.Sub(s.Start))}
		for _, e := range s.Events {
			span.Events = append(span.Events, Event{e, ms(e.Time.Sub(start))})
		}
		flat.Spans = append(flat.Spans, span)
	}
	return flat
}

// ms is a duration in milliseconds, to the microsecond.
func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
