package story

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"example.com/grafana-tempo-go-demo/demo/topology"
)

// Map is who calls whom in some traces, with a place for each to draw it at. Its JSON is drawn by the
// explorer's page.
type Map struct {
	Title string   `json:"title"`
	Text  string   `json:"text"`  // which traces, and since when
	Nodes []Node   `json:"nodes"` // as they are read: row by row
	Calls []Called `json:"calls"` // by caller and callee
	// Columns and Rows are the size of the drawing, in places.
	Columns int `json:"columns"`
	Rows    int `json:"rows"`
}

// Node is a service, or what a service calls that sends no spans.
type Node struct {
	Name   string  `json:"name"`
	Column float64 `json:"column"` // from 0, halves among them
	Row    int     `json:"row"`    // from 0; callees are below their callers
	// Silent reports whether no span of it is in these traces.
	Silent bool `json:"silent,omitempty"`
	// Listed reports whether the list of traces can be filtered by its name.
	Listed bool  `json:"listed,omitempty"`
	In     Stats `json:"in"` // all calls of it, from outside too
}

// Called is one service's calls of another.
type Called struct {
	From  string `json:"from"`
	To    string `json:"to"`
	Stats Stats  `json:"stats"`
}

// Stats sums up calls.
type Stats struct {
	Calls  int    `json:"calls"`
	Errors int    `json:"errors"`
	Rate   string `json:"rate"`
	Median Time   `json:"median"`

	times []Time
}

func (s *Stats) add(call *Span) {
	s.Calls++
	s.times = append(s.times, call.Duration)
	if call.Status == "error" {
		s.Errors++
	}
}

// finish finds the median, the lower one of two, and the rate in a time.
func (s *Stats) finish(within time.Duration) {
	slices.Sort(s.times)
	s.Median = s.times[(len(s.times)-1)/2]
	perMinute := float64(s.Calls) / within.Minutes()
	if s.Rate = fmt.Sprintf("%.2g/min", perMinute); perMinute >= 60 {
		s.Rate = fmt.Sprintf("%.3g/s", perMinute/60)
	}
}

// maxNodes bounds a map: more cannot be read.
const maxNodes = 40

// NewMap sums up traces, at a moment.
func NewMap(traces []*Trace, now time.Time) *Map {
	m := &Map{Title: "Who calls whom", Nodes: []Node{}, Calls: []Called{}}
	if len(traces) == 0 {
		m.Text = "There is no trace yet. Call a service first."
		return m
	}
	nodes, calls := map[string]*Node{}, map[[2]string]*Called{}
	since := now
	for _, t := range traces {
		if t.StartedAt.Before(since) {
			since = t.StartedAt
		}
		for _, s := range t.Spans {
			from, to := t.call(s)
			if to == "" {
				continue
			}
			n, ok := nodes[to]
			if !ok {
				n = &Node{Name: to, Silent: true}
				nodes[to] = n
			}
			n.In.add(s)
			n.Silent = n.Silent && to != s.Service
			if from == "" {
				continue
			}
			key := [2]string{from, to}
			if calls[key] == nil {
				calls[key] = &Called{From: from, To: to}
			}
			calls[key].Stats.add(s)
		}
	}
	within := max(time.Second, now.Sub(since))
	m.Text = fmt.Sprintf("From the %d newest traces, of the last %s. Rates are for that time. Medians are of the callee's time, or of the caller's wait where the callee sends no spans.",
		len(traces), Time(within.Truncate(time.Second)))
	kept := slices.SortedFunc(maps.Values(nodes), func(a, b *Node) int {
		return cmp.Or(cmp.Compare(b.In.Calls, a.In.Calls), cmp.Compare(a.Name, b.Name))
	})
	if len(kept) > maxNodes {
		m.Text += fmt.Sprintf(" The %d services with the most calls, of %d, are here.", maxNodes, len(kept))
		for _, n := range kept[maxNodes:] {
			delete(nodes, n.Name)
		}
	}
	for _, c := range calls {
		if nodes[c.From] != nil && nodes[c.To] != nil {
			c.Stats.finish(within)
			m.Calls = append(m.Calls, *c)
		}
	}
	slices.SortFunc(m.Calls, func(a, b Called) int { return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To)) })
	m.place(nodes)
	for _, n := range kept[:min(len(kept), maxNodes)] {
		n.In.finish(within)
		n.Listed = !n.Silent && n.Name != unknownService || serviceNamed(n.Name) != nil
		m.Nodes = append(m.Nodes, *n)
	}
	slices.SortFunc(m.Nodes, func(a, b Node) int { return cmp.Or(cmp.Compare(a.Row, b.Row), cmp.Compare(a.Column, b.Column)) })
	return m
}

// call returns whose call of whom a span is: of its own service if it is the first there, or of somebody of
// whom there is no span. From is empty for a call from outside, and to for a span that is no call.
func (t *Trace) call(s *Span) (from, to string) {
	switch above := t.of[s.Span.Parent]; {
	case above == nil:
		return "", s.Service
	case above.Service != s.Service:
		return above.Service, s.Service
	}
	if s.Children > 0 || s.Kind != "client" {
		return "", ""
	}
	if to = s.text("peer.service", "db.system.name", "db.system"); to == "" && s.Dark {
		to = topology.Upstreams()[s.Service]
		if IsRelay(s.Service) {
			to = t.AskedFor()
		}
		to = cmp.Or(to, s.text("server.address"))
	}
	return s.Service, to
}

// place puts each node below those that call it, as far as they do not call each other in a circle, and those of
// a row in the order of their callers.
func (m *Map) place(nodes map[string]*Node) {
	for range len(nodes) { // a longer way down would be a circle
		for _, c := range m.Calls {
			if from, to := nodes[c.From], nodes[c.To]; from != to && to.Row <= from.Row && from.Row < len(nodes)-1 {
				to.Row = from.Row + 1
			}
		}
	}
	rows := map[int][]*Node{}
	for _, n := range nodes {
		rows[n.Row] = append(rows[n.Row], n)
		m.Columns = max(m.Columns, len(rows[n.Row]))
	}
	for i, row := range slices.Sorted(maps.Keys(rows)) { // a circle may leave rows empty
		above := func(n *Node) (column float64) {
			for _, c := range m.Calls {
				if c.To == n.Name && nodes[c.From].Row < i {
					return nodes[c.From].Column
				}
			}
			return 0
		}
		slices.SortFunc(rows[row], func(a, b *Node) int { return cmp.Or(cmp.Compare(above(a), above(b)), cmp.Compare(a.Name, b.Name)) })
		for at, n := range rows[row] {
			n.Row, n.Column = i, float64(at)+float64(m.Columns-len(rows[row]))/2
		}
		m.Rows = i + 1
	}
}
