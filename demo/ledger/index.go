package ledger

import (
	"cmp"
	"slices"
	"time"

	"example.com/grafana-tempo-go-demo/demo/header"
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
	callees   []*node // the records of the requests that this one led to
	claimed   bool    // it is a callee
	candidate bool    // it may be one, of some requests
	doubtful  bool    // it may belong to another request of the same trace
	byTime    bool    // only its time says that it is a callee
	kernel    bool    // the kernel handed on the trace that arrived
	written   bool    // the kernel wrote the header that arrived
}

// walk calls f for a node and for all that it led to.
func (n *node) walk(f func(*node)) {
	f(n)
	for _, c := range n.callees { // services call in one direction, so this comes to an end
		c.walk(f)
	}
}

// builder makes requests out of records. It works on copies, without the ledger's lock.
type builder struct {
	upstreams    map[string]string
	all          []*node            // in order of time, as are all lists below
	starts       []*node            // of the requests
	byService    map[string][]*node // the lines of each service
	byTrace      map[string][]*node // records that know a trace: it is their own, or arrived
	instrumented map[string]bool    // services that were ever in a trace
	seen         map[string]bool    // those for which the kernel wrote or received a header in some request
}

// build finds out which records belong together.
func (b *builder) build() {
	b.index()
	b.tieToGateway()
	b.tieByTime()
	b.tieToCallers()
	for _, n := range b.all {
		if !n.claimed {
			b.candidates(n, func(_, c *node) { c.candidate = true })
		}
	}
	b.starts = slices.DeleteFunc(slices.Clone(b.all), func(n *node) bool { return n.claimed || n.candidate })
}

func (b *builder) index() {
	slices.SortStableFunc(b.all, func(x, y *node) int { return x.Time.Compare(y.Time) })
	// A log that has one client's headers has those of all: none kept means none sent.
	kept := slices.ContainsFunc(b.all, func(n *node) bool { return n.gateway && n.arrived != nil })
	for _, n := range b.all {
		if n.end.IsZero() {
			n.end = n.Time.Add(cmp.Or(max(n.Duration, 0), openFor))
		}
		if n.gateway && n.arrived == nil && kept {
			n.arrived = []header.Header{}
		}
		if !n.gateway {
			b.byService[n.Name] = append(b.byService[n.Name], n)
			b.instrumented[n.Name] = b.instrumented[n.Name] || n.TraceID != ""
		}
		b.byTrace[n.TraceID] = append(b.byTrace[n.TraceID], n)
		for _, h := range n.contexts {
			if list := b.byTrace[h.TraceID]; len(list) == 0 || list[len(list)-1] != n {
				b.byTrace[h.TraceID] = append(list, n)
			}
		}
	}
}

// newest returns at most limit requests, newest first: all, or those that touch traceID.
func (b *builder) newest(limit int, traceID string) []Request {
	found := []Request{}
	for _, start := range slices.Backward(b.starts) {
		if len(found) < limit && (traceID == "" || b.touches(start, traceID)) {
			found = append(found, b.request(start))
		}
	}
	return found
}

// touches reports whether the request that starts at a node had to do with a trace.
func (b *builder) touches(start *node, traceID string) (found bool) {
	inTrace := func(h header.Header) bool { return h.TraceID == traceID }
	look := func(n *node) {
		found = found || n.TraceID == traceID || n.response != nil && inTrace(*n.response) ||
			slices.ContainsFunc(n.contexts, inTrace) || slices.ContainsFunc(n.left, inTrace)
	}
	start.walk(look)
	b.candidates(start, func(_, n *node) { look(n) })
	return found
}

// candidates calls f for each candidate of a request, with its possible sender.
func (b *builder) candidates(start *node, f func(from, candidate *node)) {
	start.walk(func(from *node) {
		if len(from.callees) > 0 {
			return
		}
		for _, n := range b.meanwhile(from) {
			// A service calls another without a gateway, and only after it was called itself.
			possible := from.gateway || !n.forwarded && !n.Time.Before(from.Time)
			if possible && !n.claimed && (len(n.contexts) == 0 || b.stray(from, n)) {
				f(from, n)
			}
		}
	})
}

// meanwhile returns the lines that the service wrote that n calls, in the time in which n was open.
func (b *builder) meanwhile(n *node) []*node {
	return during(b.byService[cmp.Or(n.Service, b.upstreams[n.Name])], n.Time, n.end)
}

// during returns the nodes of a period.
func during(nodes []*node, since, until time.Time) []*node {
	earlier := func(n *node, t time.Time) int { return n.Time.Compare(t) }
	from, _ := slices.BinarySearchFunc(nodes, since.Add(-clockSlack), earlier)
	to, _ := slices.BinarySearchFunc(nodes, until.Add(clockSlack+1), earlier)
	return nodes[from:max(from, to)]
}

// mayCall reports whether a service may have sent what another received.
func (b *builder) mayCall(c, n *node) bool {
	return b.upstreams[c.Name] == n.Name && !n.Time.Before(c.Time) && !n.Time.After(c.end.Add(clockSlack))
}
