package ledger

import (
	"cmp"
	"slices"
	"time"

	"example.com/grafana-tempo-go-demo/demo/header"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

const (
	// clockSlack is how far apart two processes on one machine may stamp the same moment.
	clockSlack = 5 * time.Millisecond
	// openFor is how long a request counts as open when nothing tells its end: as long as the
	// services' own client waits for an answer.
	openFor = 10 * time.Second
)

// node is a record with its place in a request, which is a chain: nobody sends a request on twice.
type node struct {
	record
	instrumented bool  // who wrote it was ever in a trace
	next         *node // the record of the one that it called
	tied         bool  // it is somebody's next
}

// sign is what a sender and a receiver have in common, if the one called the other.
type sign struct {
	sent, received func(*node) []string
	slack          time.Duration // by which the two may stamp the moment differently
}

// signs are what ties lines, the surest first.
var signs = []sign{
	{func(g *node) []string { // the answer named the receiver's span
		if g.response == nil || !g.response.Valid {
			return nil
		}
		return []string{g.response.TraceID + g.response.SpanID}
	}, func(n *node) []string { return []string{n.TraceID + n.SpanID} }, time.Minute},
	{func(g *node) []string { return carried(g.left) }, func(n *node) []string { return carried(n.arrived) }, clockSlack},
	{func(g *node) []string { // the gateway's trace arrived, where it does not log what left
		if !g.gateway || g.left != nil {
			return nil
		}
		return []string{g.TraceID}
	}, func(n *node) []string { return traces(n, n.forwarded) }, clockSlack},
	{func(c *node) []string { // the trace of a service arrived, which does not log what it sends
		if c.gateway {
			return nil
		}
		return []string{c.TraceID}
	}, func(n *node) []string { return traces(n, !n.forwarded) }, clockSlack},
}

// carried are the contexts among headers, and the values that should be one.
func carried(headers []header.Header) (keys []string) {
	for _, h := range headers {
		if h.TraceID != "" {
			keys = append(keys, h.TraceID+h.SpanID)
		} else if !h.Valid {
			keys = append(keys, h.Name+": "+h.Value)
		}
	}
	return keys
}

// traces are the ids of those that arrived, if the line is such a one.
func traces(n *node, such bool) (ids []string) {
	for _, h := range n.arrived {
		if such && h.TraceID != "" {
			ids = append(ids, h.TraceID)
		}
	}
	return ids
}

// tie puts nodes in order, ties those of one request, and returns those with which requests begin. It
// takes as long as there are nodes, however many of them have ids in common.
func tie(all []*node) (starts []*node) {
	upstreams := topology.Upstreams()
	for _, n := range all {
		n.Service = cmp.Or(n.Service, upstreams[n.Name]) // whom it may call
		if n.end.IsZero() {
			n.end = n.Time.Add(cmp.Or(max(n.Duration, 0), openFor))
		}
	}
	slices.SortStableFunc(all, func(x, y *node) int { return x.Time.Compare(y.Time) })
	for _, s := range signs {
		s.tie(all)
	}
	return slices.DeleteFunc(slices.Clone(all), func(n *node) bool { return n.tied })
}

// tie ties each line to who sent it, where that can be one sender alone.
func (s sign) tie(all []*node) {
	type key struct{ shared, callee string }
	waiting := map[key][]*node{} // senders
	next := 0
	for _, n := range all {
		for ; next < len(all) && !all[next].Time.After(n.Time.Add(s.slack)); next++ {
			for _, shared := range s.sent(all[next]) {
				if to := all[next].Service; shared != "" && to != "" {
					waiting[key{shared, to}] = append(waiting[key{shared, to}], all[next])
				}
			}
		}
		if n.gateway || n.tied {
			continue
		}
		var senders []*node
		for _, shared := range s.received(n) {
			k := key{shared, n.Name}
			list := waiting[k]
			for i := 0; i < len(list) && len(senders) < 2; {
				if c := list[i]; c.next != nil || c.end.Add(s.slack).Before(n.Time) {
					list[i] = list[len(list)-1] // for good: time only goes on
					list = list[:len(list)-1]
					continue
				} else if !slices.Contains(senders, c) {
					senders = append(senders, c)
				}
				i++
			}
			waiting[k] = list
		}
		if len(senders) == 1 {
			c := senders[0]
			c.next, n.tied = n, true
			if c.end.Before(n.end) {
				n.end = c.end
			}
		}
	}
}
