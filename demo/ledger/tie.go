package ledger

import (
	"cmp"
	"slices"

	"example.com/grafana-tempo-go-demo/demo/header"
)

// claim makes a line a callee of the gateway's record or of another line.
func (n *node) claim(caller *node, doubtful bool) {
	caller.callees = append(caller.callees, n)
	n.claimed, n.doubtful = true, doubtful
	if caller.end.Before(n.end) {
		n.end = caller.end
	}
}

// tieToGateway finds the line that a service logged of each request that passed the gateway, by
// what both have: the strongest sign first.
func (b *builder) tieToGateway() {
	for _, same := range []func(g, n *node) bool{sameSpan, sameContext, sameTrace} {
		for _, g := range b.all {
			if found := b.fitting(g, same); len(found) > 0 {
				found[0].claim(g, len(found) > 1)
			}
		}
	}
}

// sameSpan reports whether the answer's traceresponse names the span of the line.
func sameSpan(g, n *node) bool {
	return g.response != nil && g.response.Valid && g.response.TraceID == n.TraceID && g.response.SpanID == n.SpanID
}

// sameContext reports whether a context that left is one that arrived.
func sameContext(g, n *node) bool {
	return slices.ContainsFunc(g.left, func(h header.Header) bool {
		return slices.ContainsFunc(n.contexts, func(x header.Header) bool { return x.TraceID == h.TraceID && x.SpanID == h.SpanID })
	})
}

// sameTrace reports whether the gateway's trace arrived, where it does not log what left.
func sameTrace(g, n *node) bool {
	return g.left == nil && n.forwarded && slices.ContainsFunc(n.contexts, func(h header.Header) bool { return h.TraceID == g.TraceID })
}

// fitting returns the lines that a request of the gateway may have led to, as far as same tells.
func (b *builder) fitting(g *node, same func(g, n *node) bool) (found []*node) {
	if !g.gateway || len(g.callees) > 0 {
		return nil
	}
	for _, n := range b.meanwhile(g) {
		if !n.claimed && same(g, n) {
			found = append(found, n)
		}
	}
	return found
}

// tieByTime finds the line of each request that the gateway sent on without a context: one with the
// same headers that came meanwhile, if it can be no other's.
func (b *builder) tieByTime() {
	lines, requests := map[*node][]*node{}, map[*node]int{}
	for _, g := range b.all {
		lines[g] = b.fitting(g, alike)
		for _, n := range lines[g] {
			requests[n]++
		}
	}
	for g, found := range lines {
		if len(found) == 1 && requests[found[0]] == 1 {
			found[0].claim(g, false)
			_, malformed := split(g.left)
			found[0].byTime = len(malformed) == 0 // else their values tie it, too
		}
	}
}

// alike reports whether what left is what arrived, without a context.
func alike(g, n *node) bool {
	return g.left != nil && n.forwarded && len(n.contexts) == 0 && sameHeaders(g.left, n.arrived)
}

// tieToCallers finds the service that sent each of the requests that did not come from the gateway.
func (b *builder) tieToCallers() {
	for _, n := range b.all {
		if n.gateway || n.claimed || n.forwarded {
			continue
		}
		b.watched(n)
		if callers := b.callers(n); len(callers) > 0 {
			// Services call once: prefer who has not called yet, then who waits longest.
			c := slices.MinFunc(callers, func(x, y *node) int { return cmp.Compare(len(x.callees), len(y.callees)) })
			n.claim(c, len(callers) > 1)
		}
	}
}

// callers returns the lines whose requests may have led to n's, in order of time.
func (b *builder) callers(n *node) (found []*node) {
	for i, h := range n.contexts {
		if i > 0 && h.TraceID == n.contexts[0].TraceID {
			continue // two headers of one trace
		}
		for _, c := range during(b.byTrace[h.TraceID], n.Time.Add(-2*openFor), n.Time) {
			if c.TraceID == h.TraceID && b.mayCall(c, n) {
				found = append(found, c)
			}
		}
	}
	return found
}
