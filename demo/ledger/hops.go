package ledger

import (
	"cmp"
	"slices"

	"example.com/grafana-tempo-go-demo/demo/header"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// request describes the request that begins with a node.
func request(n *node) Request {
	r := Request{
		Time: n.Time, Method: n.Method, Host: n.Host, Path: n.Path, Query: n.Query, Agent: n.Agent,
		Status: n.Status, DurationMS: float64(n.Duration.Microseconds()) / 1000, Traces: []string{},
	}
	from := Client
	for _, upstream := range topology.Upstreams() {
		if n.Name == upstream {
			from = Somebody
		}
	}
	if n.forwarded {
		from = topology.Gateway
	}
	first := firstHop(from, n)
	first.judge(n.instrumented, from != Client)
	r.Hops = append(r.Hops, first)
	for ; n.next != nil; n = n.next {
		h := firstHop(n.Name, n.next)
		h.judge(n.next.instrumented, n.TraceID != "")
		h.addSender(n)
		r.Hops = append(r.Hops, h)
	}
	last := &r.Hops[len(r.Hops)-1]
	switch {
	case n.Service == "":
	case n.gateway:
		r.Hops = append(r.Hops, unlogged(n))
	case n.TraceID == "":
		r.Lost = n.Name
		last.Says += " No header of its own left " + n.Name + ", so nobody can say what it called next."
	case n.answered != 0:
		r.Lost = n.Name
		last.Says += " " + n.Service + " answered it, but logged no request that only this one can have led to: " +
			"no header left " + n.Name + " for it, or several requests have this trace id, or its log is missing."
	}
	r.nameSenders()
	r.conclude()
	return r
}

// firstHop is the hop to n as n recorded it.
func firstHop(from string, n *node) Hop {
	return Hop{
		From: from, To: n.Name, Time: n.Time, Left: side(nil), Arrived: side(n.arrived),
		TraceID: n.TraceID, SpanID: n.SpanID, Status: n.Status,
	}
}

// side is one end of a hop; headers are nil if nobody wrote them down.
func side(headers []header.Header) Side {
	if headers == nil {
		return Side{NotKnown, []header.Header{}}
	}
	return Side{Recorded, slices.Clone(headers)} // nameSenders adds to them
}

// addSender adds to a hop what its sender recorded.
func (h *Hop) addSender(c *node) {
	if !c.gateway {
		h.Status = cmp.Or(c.answered, h.Status)
		return
	}
	h.Status, h.TraceResponse = cmp.Or(h.Status, c.Status), c.response
	if c.response != nil && c.response.Sampled != nil && *c.response.Sampled && h.Action == Continued &&
		slices.ContainsFunc(h.Arrived.Headers, header.Header.Unsampled) {
		h.Says += " Its answer says that it recorded its span all the same."
	}
	if c.left == nil {
		return
	}
	arrived, left := carried(h.Arrived.Headers), carried(c.left)
	h.Left = side(c.left)
	switch {
	case !SameHeaders(h.Left.Headers, h.Arrived.Headers):
		h.Says += " Something in between changed it: what arrived is not what left."
	case c.TraceID != "" && len(left) == 0 && len(arrived) == 0:
		h.Says += " " + c.Name + " was in a trace, but sent no header for it."
	case c.TraceID != "" && h.Action == IgnoredMalformed:
		h.Says += " " + c.Name + " sent it like that."
	}
}

// unlogged is the hop from the gateway to a service none of whose lines is known to be of the request.
func unlogged(g *node) Hop {
	h := Hop{
		From: g.Name, To: g.Service, Left: side(g.left), Arrived: side(nil),
		Action: NoAction, Status: g.Status, TraceResponse: g.response,
	}
	switch {
	case g.left == nil:
		h.Says = "What left is not recorded, and no request that " + h.To + " logged can be told to be this one."
	case len(carried(g.left)) > 0:
		h.Says = h.To + " logged no request that only this one can be: it was not reached, does not log this path, " +
			"its log is missing, or several requests carry the same header."
	default:
		h.Action = NotReceived
		h.Says = "No header left " + h.From + ", so nobody can say which of the requests that " + h.To +
			" logged is this one."
	}
	if g.response != nil && g.response.TraceID != "" {
		h.TraceID, h.SpanID = g.response.TraceID, g.response.SpanID
		h.Says += " The answer of " + h.To + " names its trace."
	}
	return h
}

// nameSenders says whose span's id each header carries: the first sender's. A service without spans
// of its own passes on the id that it received.
func (r *Request) nameSenders() {
	senders := map[string]string{}
	for _, h := range r.Hops {
		for i, side := range []Side{h.Left, h.Arrived} {
			changed := i == 1 && h.Left.Source == Recorded // what only arrived, somebody else wrote
			for j, header := range side.Headers {
				id := header.TraceID + header.SpanID
				if id != "" && senders[id] == "" && !changed && h.From != Somebody {
					senders[id] = h.From
				}
				side.Headers[j].Sender = senders[id]
			}
		}
	}
}

// SameHeaders reports whether two ends of a hop saw the same.
func SameHeaders(a, b []header.Header) bool {
	return slices.EqualFunc(a, b, func(x, y header.Header) bool { return x.Name == y.Name && x.Value == y.Value })
}
