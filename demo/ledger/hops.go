package ledger

import (
	"cmp"
	"maps"
	"slices"

	"example.com/grafana-tempo-go-demo/demo/header"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// called are the services that another one calls.
var called = slices.Collect(maps.Values(upstreams))

// request describes the request that begins with a record.
func request(first *record) Request {
	r := Request{
		Time: first.Time, Method: first.Method, Host: first.Host, Path: first.Path, Query: first.Query, Agent: first.Agent,
		Status: first.Status, DurationMS: float64(first.Duration.Microseconds()) / 1000, Traces: []string{},
	}
	from := Client
	if first.forwarded {
		from = topology.Gateway
	} else if slices.Contains(called, first.Name) {
		from = Somebody
	}
	expected := from != Client
	var last *record
	for n := first; n != nil; n = n.next {
		h := Hop{
			From: from, To: n.Name, Arrived: slices.Clone(n.arrived), // nameSenders changes it
			TraceID: n.TraceID, SpanID: n.SpanID, Status: n.Status,
		}
		h.judge(expected)
		if last != nil {
			h.addSender(last)
		}
		r.Hops = append(r.Hops, h)
		last, from, expected = n, n.Name, n.TraceID != ""
	}
	lost := "" // of which nobody can say what it called next
	says := &r.Hops[len(r.Hops)-1].Says
	switch {
	case last.Service == "":
	case last.gateway:
		r.Hops = append(r.Hops, unlogged(last))
	case last.TraceID == "":
		lost = last.Name
		*says += " So nothing ties what " + lost + " calls to this request."
	case last.answered != 0:
		lost = last.Name
		*says += " " + last.Service + " answered it, and nobody can say which of the requests that it logged is this one."
	}
	r.nameSenders()
	r.conclude(lost)
	return r
}

// addSender adds to a hop what its sender recorded.
func (h *Hop) addSender(c *record) {
	if !c.gateway {
		h.Status = cmp.Or(c.answered, h.Status)
		return
	}
	h.Status, h.TraceResponse = cmp.Or(h.Status, c.Status), c.response
	if c.left == nil {
		return
	}
	h.Left = slices.Clone(c.left)
	switch {
	case !sameHeaders(h.Left, h.Arrived):
		h.Says += " Something in between changed it: what arrived is not what left."
	case c.TraceID != "" && len(carried(c.left)) == 0:
		h.Says += " " + c.Name + " was in a trace, but sent no header for it."
	case c.TraceID != "" && h.Action == IgnoredMalformed:
		h.Says += " " + c.Name + " sent it like that."
	}
}

// unlogged is the hop from the gateway to a service none of whose lines is known to be of the request.
func unlogged(g *record) Hop {
	h := Hop{
		From: g.Name, To: g.Service, Left: slices.Clone(g.left),
		Action: NoAction, Status: g.Status, TraceResponse: g.response,
	}
	h.Says = h.To + " logged no request that only this one can be: it was not reached, does not log this path, " +
		"its log is missing, or several requests carry the same header."
	if g.left != nil && len(carried(g.left)) == 0 {
		h.Action = NotReceived
		h.Says = "No header left " + h.From + ", so nobody can say which of the requests that " + h.To +
			" logged is this one."
	}
	return h
}

// nameSenders says whose span's id each header carries: the first sender's. A service without spans
// of its own passes on the id that it received.
func (r *Request) nameSenders() {
	senders := map[string]string{}
	for _, h := range r.Hops {
		for i, side := range [][]header.Header{h.Left, h.Arrived} {
			changed := i == 1 && h.Left != nil // what only arrived, somebody else wrote
			for j, header := range side {
				id := header.TraceID + header.SpanID
				if id != "" && senders[id] == "" && !changed && h.From != Somebody {
					senders[id] = h.From
				}
				side[j].Sender = senders[id]
			}
		}
	}
}

// sameHeaders reports whether two ends of a hop saw the same.
func sameHeaders(a, b []header.Header) bool {
	return slices.EqualFunc(a, b, func(x, y header.Header) bool { return x.Name == y.Name && x.Value == y.Value })
}
