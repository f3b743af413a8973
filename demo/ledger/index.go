package ledger

import (
	"slices"
	"time"
)

const (
	// clockSlack is how far apart two processes on one machine may stamp the same moment.
	clockSlack = 5 * time.Millisecond
	// openFor is how long a request counts as open when nothing tells its end: as long as the
	// services' own client waits for an answer.
	openFor = 10 * time.Second
)

// node is a record with its place among the requests, which start at nodes that are not claimed.
type node struct {
	record
	contexts           []Header // of the headers that arrived
	claimed, candidate bool
	kernel             bool    // the kernel handed on the trace that arrived
	written            bool    // the kernel wrote the header that arrived
	callees            []*node // the records of the requests that this one led to
	tie                Tie
	doubtful           bool
}

// nodes copies records.
func nodes(records []*record) []*node {
	all := make([]*node, len(records))
	for i, r := range records {
		all[i] = &node{record: *r}
	}
	return all
}

// walk calls f for a node and for all that it led to.
func (n *node) walk(f func(*node)) {
	f(n)
	for _, c := range n.callees { // later than n, so this comes to an end
		c.walk(f)
	}
}

// key is what records are found by: a word that says what, and one or two values.
type key struct{ what, value, more string }

// builder makes requests out of records. It works on copies, without the ledger's lock.
type builder struct {
	upstreams map[string]string
	proxied   []*node
	lines     []*node

	starts   []*node         // of the requests, in order of time
	by       map[key][]*node // also in order of time
	services map[string]bool // those that logged; true for those that were in a trace
	seen     map[string]bool // those for which the kernel wrote or received a header in some request
}

// build finds out which records belong together.
func (b *builder) build() {
	b.index()
	b.tieToProxy()
	b.tieByTime()
	b.watched()
	b.tieToCallers()
	all := slices.Concat(b.proxied, b.lines)
	for _, n := range all {
		if !n.claimed {
			b.candidates(n, func(_, c *node) { c.candidate = true })
		}
	}
	for _, n := range all {
		if !n.claimed && !n.candidate {
			b.starts = append(b.starts, n)
		}
	}
	slices.SortStableFunc(b.starts, byTime)
}

func byTime(x, y *node) int { return x.time.Compare(y.time) }

func (b *builder) index() {
	slices.SortStableFunc(b.lines, byTime)
	slices.SortStableFunc(b.proxied, byTime)
	b.by, b.services, b.seen = map[key][]*node{}, map[string]bool{}, map[string]bool{}
	add := func(n *node, what, value, more string) {
		k := key{what, value, more}
		b.by[k] = append(b.by[k], n)
	}
	keeps := map[string]bool{} // gateways whose logs keep clients' headers
	for _, n := range b.proxied {
		keeps[n.name] = keeps[n.name] || n.arrived != nil
		_, malformed := split(n.left)
		for _, h := range malformed {
			add(n, "left", h.Name, h.Value)
		}
	}
	for _, n := range slices.Concat(b.proxied, b.lines) {
		if n.end.IsZero() {
			n.end = n.time.Add(openFor)
		}
		if n.proxy && n.arrived == nil && keeps[n.name] {
			n.arrived = []Header{} // none kept means none sent
		}
		n.contexts, _ = split(n.arrived)
	}
	for _, n := range b.lines {
		b.services[n.name] = b.services[n.name] || n.traceID != ""
		add(n, "service", n.name, "")
		if n.traceID != "" {
			add(n, "span", n.traceID, n.spanID)
			add(n, "trace", n.traceID, "")
		}
		for _, h := range n.contexts {
			add(n, "context arrived", h.TraceID, h.SpanID)
			add(n, "trace arrived", h.TraceID, "")
		}
		_, malformed := split(n.arrived)
		for _, h := range malformed {
			add(n, "arrived", h.Name, h.Value)
		}
	}
}

// newest returns at most limit requests, newest first: all, or those that touch traceID.
func (b *builder) newest(limit int, traceID string) []Request {
	found := []Request{}
	for _, start := range slices.Backward(b.starts) {
		if len(found) >= limit {
			break
		}
		if traceID == "" || b.touches(start, traceID) {
			found = append(found, b.request(start))
		}
	}
	return found
}

// touches reports whether the request that starts at a node had to do with a trace.
func (b *builder) touches(start *node, traceID string) (found bool) {
	inTrace := func(h Header) bool { return h.TraceID == traceID }
	look := func(n *node) {
		found = found || n.traceID == traceID || n.response != nil && inTrace(*n.response) ||
			slices.ContainsFunc(n.contexts, inTrace) || slices.ContainsFunc(n.left, inTrace)
	}
	start.walk(look)
	b.candidates(start, func(_, n *node) { look(n) })
	return found
}

// candidates calls f for each candidate of a request, with its possible sender.
func (b *builder) candidates(start *node, f func(from, candidate *node)) {
	start.walk(func(from *node) {
		callee := b.upstreams[from.name]
		if from.proxy {
			callee = from.service
		}
		if callee == "" || len(from.callees) > 0 {
			return
		}
		for _, n := range after(b.by[key{"service", callee, ""}], from.time.Add(-clockSlack)) {
			if !within(n.time, from.time, from.end) {
				break
			}
			// A service calls another without a gateway, and only after it was called itself.
			possible := from.proxy || !n.forwarded && !n.time.Before(from.time)
			if possible && !n.claimed && (len(n.contexts) == 0 || b.stray(from, n)) {
				f(from, n)
			}
		}
	})
}

// after skips the nodes before a time.
func after(nodes []*node, t time.Time) []*node {
	i, _ := slices.BinarySearchFunc(nodes, t, func(n *node, t time.Time) int { return n.time.Compare(t) })
	return nodes[i:]
}

func within(t, since, until time.Time) bool {
	return !t.Before(since.Add(-clockSlack)) && !t.After(until.Add(clockSlack))
}
