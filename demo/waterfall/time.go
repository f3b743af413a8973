package waterfall

import (
	"cmp"
	"slices"
	"time"

	"example.com/grafana-tempo-go-demo/demo/tempo"
)

// maxOrphans bounds for how many spans without their parent a place is looked for: each costs a look
// at every span.
const maxOrphans = 100

type interval struct{ from, to time.Time }

// node is a span in its tree.
type node struct {
	*tempo.Span
	top      *node
	children []*node
	dark     bool
}

func (n *node) duration() time.Duration { return n.End.Sub(n.Start) }

// unexplained returns the time of a trace that nobody measured, and the longest call that was
// answered by somebody of whom the trace has no span; nil if there is none. The explorer's page
// counts in the same way, in web/time.js.
func unexplained(t *tempo.Trace) (pieces []interval, total time.Duration, behind *tempo.Span) {
	nodes := trees(t)
	for _, n := range nodes {
		if n.dark && (behind == nil || n.duration() > behind.End.Sub(behind.Start)) {
			behind = n.Span
		}
	}
	adopt(t, nodes)
	var busy []interval
	for _, n := range nodes {
		if n.dark {
			continue // it waited for whoever is not in the trace
		}
		var waits []interval
		for _, c := range n.children {
			waits = append(waits, interval{c.Start, c.End})
		}
		busy = append(busy, without(interval{n.Start, n.End}, waits)...)
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

// trees returns a trace's spans, parents before their children, each once.
func trees(t *tempo.Trace) []*node {
	var nodes []*node
	seen := map[*tempo.Span]bool{}
	add := func(s *tempo.Span, parent *node) {
		if seen[s] {
			return
		}
		seen[s] = true
		n := &node{Span: s, dark: isDark(s)}
		if n.top = n; parent != nil {
			n.top = parent.top
			parent.children = append(parent.children, n)
		}
		nodes = append(nodes, n)
	}
	for _, root := range append(t.Roots(), t.Spans...) {
		first := len(nodes)
		add(root, nil)
		for i := first; i < len(nodes); i++ {
			for _, c := range nodes[i].Children {
				add(c, nodes[i])
			}
		}
	}
	return nodes
}

// isDark reports whether a span is an HTTP call that was answered by somebody of whom the trace has
// no span. A call of a database is measured by the caller alone, and is not.
func isDark(s *tempo.Span) bool {
	_, answered := s.Attributes["http.response.status_code"]
	_, before := s.Attributes["http.status_code"] // its name until 2023
	return s.Kind == "client" && len(s.Children) == 0 && (answered || before)
}

// adopt guesses where the spans belong whose parent is missing: in a dark call around them, or else
// in the shortest span around them that may have called somebody.
func adopt(t *tempo.Trace, nodes []*node) {
	known := map[string]bool{}
	for _, s := range t.Spans {
		known[s.SpanID] = true
	}
	hosts := map[*node]*node{}
	for _, orphan := range nodes {
		if orphan.ParentID == "" || known[orphan.ParentID] || len(hosts) == maxOrphans {
			continue
		}
		var host *node
		for _, n := range nodes {
			around := !n.Start.After(orphan.Start) && !n.End.Before(orphan.End) && n.duration() > orphan.duration()
			if around && n.top != orphan && (n.dark || len(n.children) > 0 || n.Kind != "client") &&
				(host == nil || n.dark && !host.dark || n.dark == host.dark && n.duration() <= host.duration()) {
				host = n
			}
		}
		hosts[orphan] = host
	}
	for orphan, host := range hosts {
		if host != nil {
			host.children = append(host.children, orphan)
		}
	}
}

// without returns an interval without the time of others.
func without(whole interval, others []interval) (pieces []interval) {
	slices.SortFunc(others, func(a, b interval) int { return cmp.Or(a.from.Compare(b.from), a.to.Compare(b.to)) })
	at := whole.from
	for _, o := range others {
		if !at.Before(whole.to) {
			return pieces
		}
		if o.from.After(at) {
			until := o.from
			if until.After(whole.to) {
				until = whole.to
			}
			pieces = append(pieces, interval{at, until})
		}
		if o.to.After(at) {
			at = o.to
		}
	}
	if at.Before(whole.to) {
		pieces = append(pieces, interval{at, whole.to})
	}
	return pieces
}
