package waterfall

import (
	"slices"
	"time"

	"example.com/grafana-tempo-go-demo/demo/tempo"
)

type interval struct{ from, to time.Time }

// unexplained returns the time of a trace that nobody measured, and the longest call that was
// answered by somebody of whom the trace has no span; nil if there is none. A span whose parent's
// id is not known has lost it. The explorer's page counts in the same way, in web/time.js.
func unexplained(t *tempo.Trace, known map[string]bool) (pieces []interval, total time.Duration, behind *tempo.Span) {
	orphans := slices.DeleteFunc(slices.Clone(t.Spans), func(s *tempo.Span) bool { return known[s.ParentID] })
	var busy []interval
	for _, s := range t.Spans {
		if isDark(s) { // it waited for whoever is not in the trace
			if behind == nil || length(s) > length(behind) {
				behind = s
			}
			continue
		}
		var others []interval
		for _, c := range s.Children {
			others = append(others, interval{c.Start, c.End})
		}
		for _, o := range orphans { // a span around them that may have called somebody waited for them
			called := len(s.Children) > 0 || s.Kind != "client"
			if called && length(s) > length(o) && !s.Start.After(o.Start) && !s.End.Before(o.End) {
				others = append(others, interval{o.Start, o.End})
			}
		}
		busy = append(busy, without(interval{s.Start, s.End}, others)...)
	}
	start, end := t.Bounds()
	pieces = without(interval{start, end}, busy)
	for _, p := range pieces {
		total += p.to.Sub(p.from)
	}
	if total <= end.Sub(start)/1000 {
		return nil, 0, behind
	}
	return pieces, total, behind
}

func length(s *tempo.Span) time.Duration { return s.End.Sub(s.Start) }

// isDark reports whether a span is an HTTP call of somebody of whom the trace has no span, answered
// or not. A call of a database is measured by the caller alone, and is not.
func isDark(s *tempo.Span) bool {
	_, asked := s.Attributes["http.request.method"]
	_, answered := s.Attributes["http.response.status_code"]
	return s.Kind == "client" && len(s.Children) == 0 && (asked || answered)
}

// without returns an interval without the time of others.
func without(whole interval, others []interval) (pieces []interval) {
	slices.SortFunc(others, func(a, b interval) int { return a.from.Compare(b.from) })
	at := whole.from
	for _, o := range append(others, interval{whole.to, whole.to}) {
		if o.from.After(whole.to) {
			o.from = whole.to
		}
		if o.from.After(at) {
			pieces = append(pieces, interval{at, o.from})
		}
		if o.to.After(at) {
			at = o.to
		}
	}
	return pieces
}
