package tour

import (
	"time"

	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/tempo"
)

// Report is what `demo tour -json` prints, one object on standard output. Times are milliseconds.
type Report struct {
	// Plain is the call of uservice1, of which an outsider knows no more than this.
	Plain Call `json:"plain"`
	// Instrumented is the call of uservice3.
	Instrumented Call `json:"instrumented"`
	// Trace is what the collector received of the second call.
	Trace Trace `json:"trace"`
	// Ledger says of both calls which way the propagation header went.
	Ledger Ledger `json:"ledger"`

	trace *tempo.Trace // what Trace is made of
}

// Ledger has the two calls' entries in the hop ledger, in the shape of GET /api/ledger.
type Ledger struct {
	Plain        *ledger.Request `json:"plain"`
	Instrumented *ledger.Request `json:"instrumented"`
}

// Call is one request through the gateway.
type Call struct {
	Service    string  `json:"service"`
	URL        string  `json:"url"` // as a browser would ask, such as http://uservice3.localhost:8000/?fail=redis
	Status     int     `json:"status"`
	DurationMS float64 `json:"duration_ms"`
	// TraceResponse is the answer's traceresponse header, 00-<trace id>-<span id>-<flags>; the
	// plain pair sends none. https://www.w3.org/TR/trace-context-2/#traceresponse-header
	TraceResponse string `json:"traceresponse,omitempty"`
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
	SpanID        string         `json:"span_id"`
	ParentID      string         `json:"parent_id"` // empty for the root
	Depth         int            `json:"depth"`     // 0 for the root
	Service       string         `json:"service"`
	Name          string         `json:"name"`
	Kind          string         `json:"kind"`     // server, client, internal, ...
	StartMS       float64        `json:"start_ms"` // since the trace's start
	DurationMS    float64        `json:"duration_ms"`
	Status        string         `json:"status"` // ok, error, unset
	StatusMessage string         `json:"status_message,omitempty"`
	Attributes    map[string]any `json:"attributes,omitempty"`
	Events        []Event        `json:"events,omitempty"`
}

// Event is an event of a Span.
type Event struct {
	Name       string         `json:"name"`
	AtMS       float64        `json:"at_ms"` // since the trace's start
	Attributes map[string]any `json:"attributes,omitempty"`
}

// flatten fills the report's Trace from the tree.
func (r *Report) flatten() {
	start, end := r.trace.Bounds()
	r.Trace.ID, r.Trace.DurationMS = r.trace.ID, ms(end.Sub(start))
	depth := map[string]int{}
	for _, s := range r.trace.Spans { // parents come before their children
		if above, ok := depth[s.ParentID]; ok {
			depth[s.SpanID] = above + 1
		} else {
			depth[s.SpanID] = 0
		}
		span := Span{
			SpanID: s.SpanID, ParentID: s.ParentID, Depth: depth[s.SpanID],
			Service: s.Service, Name: s.Name, Kind: s.Kind,
			StartMS: ms(s.Start.Sub(start)), DurationMS: ms(s.End.Sub(s.Start)),
			Status: s.Status, StatusMessage: s.StatusMessage, Attributes: s.Attributes,
		}
		for _, e := range s.Events {
			span.Events = append(span.Events, Event{Name: e.Name, AtMS: ms(e.Time.Sub(start)), Attributes: e.Attributes})
		}
		r.Trace.Spans = append(r.Trace.Spans, span)
	}
}

// ms is a duration in milliseconds, to the microsecond.
func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
