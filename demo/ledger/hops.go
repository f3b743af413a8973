package ledger

import (
	"cmp"
	"slices"

	"example.com/grafana-tempo-go-demo/demo/header"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// client is the name of whoever is outside.
const client = "client"

// maxUntied is how many candidates are listed with one request.
const maxUntied = 8

// request describes the request that starts at a node.
func (b *builder) request(start *node) Request {
	r := Request{
		Time: start.Time, Method: start.Method, Host: start.Host, Path: start.Path, Query: start.Query, Agent: start.Agent,
		Status: start.Status, DurationMS: float64(start.Duration.Microseconds()) / 1000, Traces: []string{}, Untied: []Hop{},
	}
	from := client
	if start.forwarded {
		from = topology.Gateway
	}
	first := b.hop(from, start, false)
	if start.forwarded {
		first.Says += " The gateway sent it; what the gateway recorded of it is not here (yet)."
	}
	r.Hops = append(r.Hops, first)
	severed := "" // the service after which the trace is severed
	start.walk(func(c *node) {
		for _, callee := range c.callees {
			r.Hops = append(r.Hops, b.hopFrom(c, callee))
		}
		switch {
		case len(c.callees) > 0:
		case c.Service != "":
			r.Hops = append(r.Hops, unlogged(c))
		case c.TraceID != "" && c.answered != 0:
			severed = c.Name
		}
	})
	b.candidates(start, func(from, n *node) {
		if r.UntiedTotal++; r.UntiedTotal > maxUntied {
			return
		}
		hop := b.hop(from.Name, n, true)
		if hop.Kernel = len(n.contexts) > 0; hop.Kernel {
			hop.Says = "It arrived while this request was open. " + from.Name + " writes no header: if " + from.Name +
				" sent it, the kernel wrote the header (eBPF), and began a trace that the first has nothing to do with."
		} else {
			hop.Says += " It arrived while this request was open, and may have come from " + from.Name +
				" or from anybody else: nothing in it says which."
		}
		r.Untied = append(r.Untied, hop)
	})
	if r.UntiedTotal == 0 {
		severed = "" // the callee's log may be missing
	}
	r.nameSenders()
	conclude(&r, severed)
	return r
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
				if id != "" && senders[id] == "" && !changed {
					senders[id] = h.From
				}
				side.Headers[j].Sender = senders[id]
			}
		}
	}
}

// hop is a hop as n recorded it; see judge. What left is what arrived, unless callers know better.
func (b *builder) hop(from string, n *node, expected bool) Hop {
	h := Hop{
		From: from, To: n.Name, Time: n.Time, Left: side(Inferred, n.arrived), Arrived: side(Recorded, n.arrived),
		TraceID: n.TraceID, SpanID: n.SpanID, Status: n.Status, Ambiguous: n.doubtful,
	}
	h.Action, h.Says = judge(h, b.instrumented[n.Name], expected)
	if n.doubtful {
		h.Says += " It may belong to another request of the same trace."
	}
	if n.byTime {
		h.Says += " Nothing in it says that it is this request, but no other came to " + n.Name + " through the gateway in that time."
	}
	if n.response != nil {
		h.TraceResponse = &Response{Inferred, *n.response}
	} else if n.TraceID != "" && !n.gateway {
		h.TraceResponse = &Response{Inferred, header.Header{Name: header.TraceResponse, Valid: true, TraceID: n.TraceID, SpanID: n.SpanID}}
	}
	h.byKernel(n, b.seen[n.Name])
	return h
}

// side is one end of a hop; headers are nil if nobody wrote them down.
func side(source Source, headers []header.Header) Side {
	if headers == nil {
		return Side{NotKnown, []header.Header{}}
	}
	return Side{source, slices.Clone(headers)} // nameSenders adds to them
}

// hopFrom is the hop from the gateway or a service to another service that logged it.
func (b *builder) hopFrom(c, n *node) Hop {
	h := b.hop(c.Name, n, c.TraceID != "")
	if !c.gateway {
		if len(c.callees) == 1 {
			h.Status = cmp.Or(c.answered, h.Status)
		}
		return h
	}
	h.Status = cmp.Or(h.Status, c.Status)
	if c.response != nil {
		h.TraceResponse = &Response{Recorded, *c.response}
		overruled := func(x header.Header) bool { return x.TraceID == h.TraceID && !*x.Sampled }
		if s := c.response.Sampled; s != nil && *s && slices.ContainsFunc(n.contexts, overruled) {
			h.Says += " Its answer says that it recorded its span all the same."
		}
	}
	if c.left == nil {
		return h
	}
	h.Left = side(Recorded, c.left)
	if !sameHeaders(c.left, n.arrived) {
		h.Says += " Something in between changed it: what arrived is not what left."
	}
	contexts, malformed := split(c.left)
	switch {
	case c.TraceID == "" || len(n.contexts) > 0 || len(contexts) > 0:
	case len(malformed) > 0:
		h.Says += " " + c.Name + " sent it like that."
	default:
		h.Says += " " + c.Name + " was in a trace, but sent no header for it."
	}
	return h
}

// unlogged is the hop from the gateway to a service whose line was not found.
func unlogged(p *node) Hop {
	h := Hop{
		From: p.Name, To: p.Service, Left: side(Recorded, p.left), Arrived: side(NotKnown, nil),
		Action: NoAction, Status: p.Status,
	}
	contexts, malformed := split(p.left)
	switch {
	case p.left == nil:
		h.Says = "What left is not recorded, and nothing ties a request that " + p.Service + " logged to this one."
	case len(contexts)+len(malformed) > 0:
		h.Says = p.Service + " logged no request that carries this: " +
			"it was not reached, does not log this path, or its log is missing."
	default:
		h.Action = NotReceived
		h.Says = p.Name + " sent no trace id, so nothing ties a request that " + p.Service + " logged to this one."
	}
	if p.response != nil {
		h.TraceResponse = &Response{Recorded, *p.response}
		h.TraceID, h.SpanID = p.response.TraceID, p.response.SpanID
		if h.TraceID != "" && h.Action == NotReceived {
			h.Says += " Its answer names a trace that " + p.Service + " started."
		}
	}
	return h
}
