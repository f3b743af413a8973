package story

import (
	"cmp"
	"slices"
)

// Row is the time of a service, or of the spans of one name in it.
type Row struct {
	Service string  `json:"service"` // empty for time that no span covers
	Name    string  `json:"name"`    // of the spans, or "unexplained"
	Spans   int     `json:"spans"`
	Errors  int     `json:"errors"`
	Dark    bool    `json:"dark"` // all of them are: nobody knows what they did themselves
	Time    Time    `json:"time"`
	Share   float64 `json:"share"` // 0 to 1
	Percent string  `json:"percent"`

	span *Span // the first of them; nil for time that no span covers
}

// rows adds up the shares of spans by a key, the greatest first. They add up to the trace's duration.
func (t *Trace) rows(key func(*Span) string) (rows []Row) {
	found := map[string]int{}
	for _, s := range t.Spans {
		i, ok := found[key(s)]
		if !ok {
			i = len(rows)
			found[key(s)] = i
			rows = append(rows, Row{Service: s.Service, Name: cmp.Or(s.Name, noName), Dark: true, span: s})
		}
		row := &rows[i]
		row.Spans++
		row.Time += s.Share
		row.Dark = row.Dark && s.Dark
		if s.Status == "error" {
			row.Errors++
		}
	}
	if t.Dark != nil && t.Dark.Time > 0 {
		rows = append(rows, Row{Name: "unexplained", Time: t.Dark.Time})
	}
	for i := range rows {
		rows[i].Share = float64(rows[i].Time) / float64(max(1, t.Duration))
		rows[i].Percent = Percent(rows[i].Time, t.Duration)
	}
	slices.SortStableFunc(rows, func(a, b Row) int { return cmp.Compare(b.Time, a.Time) })
	return rows
}

// maxAdopted bounds the spans without their parent for which a place is looked for: each costs a
// look at every span.
const maxAdopted = 100

// account finds where the time went. Time is charged to the spans that were at work and waited
// for no child; spans that were at work side by side share it. What is left, no span covers: it is
// unexplained, and charged to nobody.
func (t *Trace) account() {
	t.guests = map[*Span][]*Span{}
	orphans := slices.DeleteFunc(slices.Clone(t.Spans), func(s *Span) bool { return !s.Orphan })
	for _, s := range orphans[:min(len(orphans), maxAdopted)] {
		if host := t.host(s); host != nil {
			t.guests[host] = append(t.guests[host], s)
		}
	}
	type edge struct {
		at     Time
		change int
	}
	edges := make([]edge, 0, 2*len(t.Spans)+1)
	for _, s := range t.Spans {
		if s.Dark {
			continue
		}
		var others []Interval
		for _, c := range t.below(s) {
			others = append(others, c.Interval)
		}
		slices.SortFunc(others, func(a, b Interval) int { return cmp.Compare(a.From, b.From) })
		s.Self = without(s.Interval, others)
		s.SelfTime = length(s.Self)
		for _, piece := range s.Self {
			edges = append(edges, edge{piece.From, 1}, edge{piece.To, -1})
		}
	}
	edges = append(edges, edge{t.Duration, 0})
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Compare(a.at, b.at) })
	// For each edge, what a span would have got that was at work since the beginning.
	until := make(map[Time]float64, len(edges))
	var at Time
	working, shared := 0, 0.0
	for _, e := range edges {
		if working > 0 {
			shared += float64(e.at-at) / float64(working)
		} else if e.at > at {
			t.unexplained = append(t.unexplained, Interval{at, e.at})
		}
		at = e.at
		working += e.change
		until[e.at] = shared
	}
	for _, s := range t.Spans {
		share := 0.0
		for _, piece := range s.Self {
			share += until[piece.To] - until[piece.From]
		}
		s.Share = Time(share + 0.5)
	}
	if length(t.unexplained) <= t.Duration/1000 {
		t.unexplained = nil
	}
}

// host guesses where a span belongs whose parent is missing: in the shortest span around it that may have
// called somebody. Nil if there is none.
func (t *Trace) host(orphan *Span) (host *Span) {
	for _, s := range t.Spans {
		below := s.Index >= orphan.Index && s.Index <= orphan.Index+orphan.Below
		around := s.Interval.From <= orphan.Interval.From && s.Interval.To >= orphan.Interval.To &&
			s.Duration > orphan.Duration
		calls := s.Children > 0 || s.Kind != "client" || s.Dark
		if around && !below && calls && (host == nil || s.Duration <= host.Duration) {
			host = s
		}
	}
	return host
}
