package ledger

import (
	"cmp"
	"slices"
	"time"

	"example.com/grafana-tempo-go-demo/demo/topology"
)

// claim makes a line a callee of the gateway's record or of another line.
func (n *node) claim(caller *node, tie Tie, doubtful bool) {
	caller.callees = append(caller.callees, n)
	n.claimed, n.tie, n.doubtful = true, tie, doubtful
	n.end = slices.MinFunc([]time.Time{n.end, caller.end}, time.Time.Compare)
}

// tieToProxy finds the line that a service logged of each request that passed the gateway.
func (b *builder) tieToProxy() {
	for _, tie := range []Tie{TieResponse, TieContext, TieValue, TieTrace} { // the strongest first
		for _, p := range b.proxied {
			if len(p.callees) > 0 || p.service == "" {
				continue
			}
			found := b.match(p, tie)
			if len(found) == 1 || len(found) > 1 && tie != TieValue {
				found[0].claim(p, tie, len(found) > 1)
			}
		}
	}
}

// tieByTime finds the line of each request that the gateway sent on without a context: the one that
// came through it meanwhile, if that can be no other's. Nothing in the line says whose it is.
func (b *builder) tieByTime() {
	fitting := func(p *node) (found []*node) {
		if len(p.callees) > 0 || p.left == nil || p.service == "" {
			return nil
		}
		for _, n := range after(b.by[key{"service", p.service, ""}], p.time.Add(-clockSlack)) {
			if !within(n.time, p.time, p.end) {
				break
			}
			if !n.claimed && n.forwarded && sameHeaders(p.left, n.arrived) {
				found = append(found, n)
			}
		}
		return found
	}
	lines, requests := map[*node][]*node{}, map[*node]int{}
	for _, p := range b.proxied {
		if contexts, malformed := split(p.left); len(contexts)+len(malformed) > 0 {
			continue
		}
		lines[p] = fitting(p)
		for _, n := range lines[p] {
			requests[n]++
		}
	}
	for p, found := range lines {
		if len(found) == 1 && requests[found[0]] == 1 {
			found[0].claim(p, TieTime, false)
		}
	}
}

// match returns the lines that a tie connects with a request of the gateway, at most two.
func (b *builder) match(p *node, tie Tie) (found []*node) {
	take := func(k key, fits func(*node) bool) {
		for _, n := range b.by[k] {
			if len(found) > 1 {
				return
			}
			if !n.claimed && n.name == p.service && fits(n) && !slices.Contains(found, n) {
				found = append(found, n)
			}
		}
	}
	inTime := func(n *node) bool { return within(n.time, p.time, p.end) }
	contexts, malformed := split(p.left)
	switch {
	case tie == TieResponse && p.response != nil && p.response.Valid:
		take(key{"span", p.response.TraceID, p.response.SpanID}, func(*node) bool { return true })
	case tie == TieContext:
		for _, h := range contexts {
			take(key{"context arrived", h.TraceID, h.SpanID}, inTime)
		}
	case tie == TieValue:
		for _, h := range malformed {
			if len(b.by[key{"left", h.Name, h.Value}]) == 1 {
				take(key{"arrived", h.Name, h.Value}, inTime)
			}
		}
	case tie == TieTrace && p.left == nil && p.traceID != "":
		// The gateway passes the Host header on; services that call each other send another one.
		host := topology.HostName(p.host)
		take(key{"trace arrived", p.traceID, ""}, func(n *node) bool {
			return inTime(n) && (host == "" || n.host == "" || topology.HostName(n.host) == host)
		})
	}
	return found
}

// tieToCallers finds the service that sent each of the requests that did not come from the gateway.
func (b *builder) tieToCallers() {
	for _, n := range b.lines {
		if n.claimed || n.forwarded {
			continue
		}
		if callers := b.callers(n); len(callers) > 0 {
			// Services call once: prefer who has not called yet, then who waits longest.
			c := slices.MinFunc(callers, func(x, y *node) int { return cmp.Compare(len(x.callees), len(y.callees)) })
			n.claim(c, TieTrace, len(callers) > 1)
		}
	}
}

// callers returns the lines whose requests may have led to n's, in order of time.
func (b *builder) callers(n *node) (found []*node) {
	for i, h := range n.contexts {
		if i > 0 && h.TraceID == n.contexts[0].TraceID {
			continue // two headers of one trace
		}
		for _, c := range after(b.by[key{"trace", h.TraceID, ""}], n.time.Add(-2*openFor)) {
			if c == n || c.time.After(n.time) {
				break // only earlier lines, so that no circle can come about
			}
			if b.upstreams[c.name] == n.name && within(n.time, c.time, c.end) {
				found = append(found, c)
			}
		}
	}
	return found
}
