package story

import (
	"cmp"
	"time"

	"example.com/grafana-tempo-go-demo/demo/tempo"
)

// Line is a log line of a trace.
type Line struct {
	At       Time      `json:"at"` // since the trace began, or since the first line, if no span is here
	Time     time.Time `json:"time"`
	Service  string    `json:"service"` // never empty
	Severity string    `json:"severity"`
	Text     string    `json:"text"`
	// Span is the index of its span in Trace.Spans; -1 if that is not here, or if it names none.
	Span       int    `json:"span"`
	SpanID     string `json:"span_id,omitempty"`
	Attributes Values `json:"attributes,omitempty"`
}

// Lines ties the log lines of a trace to its spans. They are in order of time; t is nil if no span is here.
func Lines(found []tempo.Line, t *Trace) []Line {
	lines := make([]Line, 0, len(found))
	for _, l := range found {
		line := Line{
			Time: l.Time, Service: cmp.Or(l.Service, unknownService), Severity: l.Severity, Text: l.Text,
			Span: -1, SpanID: l.SpanID, Attributes: newValues(l.Attributes),
		}
		if t == nil {
			line.At = Time(l.Time.Sub(found[0].Time))
		} else {
			line.At, line.Span = Time(l.Time.Sub(t.StartedAt)), t.spanOf(l)
		}
		lines = append(lines, line)
	}
	return lines
}

// spanOf finds the span of a log line. Of several with one id, as Zipkin makes them, it is that of the
// line's service.
func (t *Trace) spanOf(l tempo.Line) (index int) {
	index = -1
	for i, s := range t.Spans {
		if s.SpanID == l.SpanID && (index < 0 || s.Service == l.Service) {
			index = i
		}
	}
	return index
}
