package ledger

import "cmp"

// client is the name of whoever is outside.
const client = "client"

// maxUntied is how many candidates are listed with one request.
const maxUntied = 8

// request describes the request that starts at a node.
func (b *builder) request(start *node) Request {
	r := Request{
		Time: start.time, Method: start.method, Host: start.host, Path: start.path, Query: start.query,
		Status: start.status, DurationMS: float64(start.duration.Microseconds()) / 1000, Traces: []string{}, Untied: []Hop{},
	}
	from, says := client, ""
	if start.forwarded {
		from, says = "proxy", " A proxy sent it, of which there is no record (yet)."
	}
	first := b.hop(from, start, false)
	first.Says += says
	r.Hops = append(r.Hops, first)
	severed := "" // the service after which the trace is severed
	start.walk(func(c *node) {
		if c.proxy && len(c.callees) == 0 && c.service != "" {
			r.Hops = append(r.Hops, unlogged(c))
		}
		for _, callee := range c.callees {
			r.Hops = append(r.Hops, b.hopFrom(c, callee))
		}
		if c.traceID != "" && c.answered != 0 && len(c.callees) == 0 {
			severed = c.name
		}
	})
	b.candidates(start, func(from, n *node) {
		if r.UntiedTotal++; r.UntiedTotal > maxUntied {
			return
		}
		hop := b.hop(from.name, n, true)
		hop.Tie = TieNone
		hop.Says += " It arrived while this request was open, and may have come from " + from.name +
			" or from anybody else: it carries nothing that tells."
		r.Untied = append(r.Untied, hop)
	})
	if r.UntiedTotal == 0 {
		severed = "" // the callee's log may be missing
	}
	conclude(&r, severed)
	return r
}

// hop is a hop as n recorded it; see judge. What left is what arrived, unless callers know better.
func (b *builder) hop(from string, n *node, expected bool) Hop {
	h := Hop{
		From: from, To: n.name, Time: n.time, Left: side(Inferred, n.arrived), Arrived: side(Recorded, n.arrived),
		TraceID: n.traceID, SpanID: n.spanID, Status: n.status, Tie: cmp.Or(n.tie, TieFirst), Ambiguous: n.doubtful,
	}
	switch {
	case n.arrived != nil:
		h.Action, h.Says = judge(h, b.services[n.name], expected)
	case n.traceID != "":
		h.Action = NoAction
		h.Says = n.name + " started or continued the trace: its log does not tell whether the client sent a context."
	default:
		h.Action, h.Says = NoAction, "The log of "+n.name+" does not tell whether the client sent a context."
	}
	if n.doubtful {
		h.Says += " Another request of the same trace may have been the one that it belongs to."
	}
	if n.response != nil {
		h.TraceResponse = &Response{Inferred, *n.response}
	} else if n.traceID != "" && !n.proxy {
		h.TraceResponse = &Response{Inferred, Header{Name: TraceResponse, Valid: true, TraceID: n.traceID, SpanID: n.spanID}}
	}
	return h
}

// side is one end of a hop; headers are nil if nobody wrote them down.
func side(source Source, headers []Header) Side {
	if headers == nil {
		return Side{NotKnown, []Header{}}
	}
	return Side{source, headers}
}

// hopFrom is the hop from the proxy or a service to another service that logged it.
func (b *builder) hopFrom(c, n *node) Hop {
	h := b.hop(c.name, n, c.traceID != "")
	if !c.proxy {
		if len(c.callees) == 1 {
			h.Status = cmp.Or(c.answered, h.Status)
		}
		return h
	}
	h.Status = cmp.Or(h.Status, c.status)
	if c.response != nil {
		h.TraceResponse = &Response{Recorded, *c.response}
	}
	if c.left == nil {
		return h
	}
	h.Left = side(Recorded, c.left)
	if !sameHeaders(c.left, n.arrived) {
		h.Says += " What arrived is not what left: something in between has changed it."
	}
	contexts, malformed := split(c.left)
	switch {
	case c.traceID == "" || len(n.contexts) > 0 || len(contexts) > 0:
	case len(malformed) > 0:
		h.Says += " It was " + c.name + " that sent it so."
	default:
		h.Says += " " + c.name + " was in a trace, and sent no header of it."
	}
	return h
}

// unlogged is the hop from the proxy to a service whose line was not found.
func unlogged(p *node) Hop {
	h := Hop{
		From: p.name, To: p.service, Left: side(Recorded, p.left), Arrived: side(Inferred, p.left),
		Action: NoAction, Status: p.status, Tie: TieRecord,
	}
	contexts, malformed := split(p.left)
	switch {
	case p.left == nil:
		h.Says = "No request that " + p.service + " logged can be tied to this one, and what left is not recorded."
	case len(contexts)+len(malformed) > 0:
		h.Says = p.service + " logged no request that carries this: " +
			"it was not reached, does not log this path, or its log is missing."
	default:
		h.Action = NotReceived
		h.Says = p.name + " sent no context, so that none of the requests that " + p.service + " logged can be tied to this one."
	}
	if p.response != nil {
		h.TraceResponse = &Response{Recorded, *p.response}
		h.TraceID, h.SpanID = p.response.TraceID, p.response.SpanID
		if h.TraceID != "" && h.Action == NotReceived {
			h.Says += " Its answer names a trace that " + p.service + " started."
		}
	}
	return h
}
