package ledger

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"example.com/grafana-tempo-go-demo/demo/header"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// called are the services that another one calls.
var called = slices.Collect(maps.Values(upstreams))

// request describes the request that begins with a record.
func request(first *Record) Request {
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
	expected := from != Client // a context
	var last *Record
	for n := first; n != nil; n = n.next {
		h := Hop{
			From: from, To: n.Name, Arrived: slices.Clone(n.arrived), // nameSenders changes it
			TraceID: n.TraceID, SpanID: n.SpanID, Status: n.Status,
		}
		var says string
		h.Action, says = h.judge(expected)
		h.Says = h.To + " " + says
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

// judge says what the receiver of a hop did with what arrived, and of that what follows its name. A
// context is expected if the sender was, or may have been, in a trace.
func (h *Hop) judge(expected bool) (Action, string) {
	var contexts, problems []string
	for _, x := range h.Arrived {
		switch {
		case x.TraceID != "" && x.TraceID == h.TraceID && x.SpanID == h.SpanID:
			return Continued, "continued the trace in " + x.Name + ", and made no span of its own."
		case x.TraceID != "" && x.TraceID == h.TraceID && x.Unsampled():
			return Continued, "continued the trace in " + x.Name + ", which is not sampled."
		case x.TraceID != "" && x.TraceID == h.TraceID:
			return Continued, "continued the trace: its span's parent is the one named in " + x.Name + "."
		case x.TraceID != "":
			contexts = append(contexts, x.Name)
		case x.Problem != "":
			problems = append(problems, x.Name+" is malformed: "+x.Problem+".")
		}
	}
	switch traced := h.TraceID != ""; {
	case h.Arrived == nil:
		return NoAction, "logged no header that arrived, and may not keep them."
	case len(contexts)+len(problems) > 0 && !traced:
		return Dropped, "dropped the trace: without instrumentation, a service neither reads the header nor sends it on."
	case len(contexts) > 0:
		return IgnoredFormat, "ignored " + strings.Join(contexts, " and ") + " and started trace " + h.TraceID +
			": it reads another format; see its OTEL_PROPAGATORS."
	case len(problems) > 0:
		return IgnoredMalformed, "ignored what arrived and started trace " + h.TraceID + ". " + strings.Join(problems, " ")
	case !traced:
		return NotReceived, "received no trace id, and started no trace."
	case expected:
		return NotReceived, "received no trace id, and started trace " + h.TraceID + "."
	}
	return Started, "started a trace: no trace id arrived."
}

// addSender adds to a hop what its sender recorded.
func (h *Hop) addSender(c *Record) {
	if !c.gateway {
		h.Status = cmp.Or(c.answered, h.Status)
		return
	}
	h.Status, h.TraceResponse, h.Left = cmp.Or(h.Status, c.Status), c.response, slices.Clone(c.left)
	switch {
	case c.left == nil || c.TraceID == "":
	case len(carried(c.left)) == 0:
		h.Says += " " + c.Name + " was in a trace, but sent no header for it."
	case h.Action == IgnoredMalformed && sameHeaders(h.Left, h.Arrived):
		h.Says += " " + c.Name + " sent it like that."
	}
}

// unlogged is the hop from the gateway to a service none of whose lines is known to be of the request.
func unlogged(g *Record) Hop {
	h := Hop{
		From: g.Name, To: g.Service, Left: slices.Clone(g.left), Status: g.Status, TraceResponse: g.response, Action: NoAction,
		Says: g.Service + " logged no request that only this one can be: it was not reached, does not log this path, " +
			"its log is missing, or several requests carry the same header.",
	}
	if g.left != nil && len(carried(g.left)) == 0 {
		h.Action, h.Says = NotReceived, "No header left "+h.From+", so nobody can say which of the requests that "+h.To+
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

// conclude sums up what became of the trace. Nobody can say what lost, a service, called next.
func (r *Request) conclude(lost string) {
	ended, unsaid := "", ""
	var cuts []string
	for _, h := range r.Hops {
		switch {
		case h.Action == IgnoredMalformed, h.Action == IgnoredFormat,
			h.Action == NotReceived && h.From != Client && len(r.Traces) > 0:
			cuts = append(cuts, "before "+h.To)
		case h.Action == Dropped:
			ended = cmp.Or(ended, h.To)
		case h.Action == NoAction && h.TraceID == "":
			unsaid = "The records do not say what became of the trace."
		}
		if h.TraceID != "" && !slices.Contains(r.Traces, h.TraceID) {
			r.Traces = append(r.Traces, h.TraceID)
		}
		for _, x := range h.Arrived {
			r.Unsampled = r.Unsampled || x.Unsampled() && (h.TraceID == "" || h.TraceID == x.TraceID)
		}
	}
	if first := r.Hops[0]; first.Action == NotReceived && first.From != Client {
		unsaid = "No trace id arrived at " + first.To + ", so nobody can say which request led to this one."
	} else if lost != "" && len(r.Traces) > 0 {
		unsaid = "Nobody can say what " + lost + " called next."
	}
	switch {
	case len(cuts) > 0:
		r.Outcome, r.Summary = Cut, "The trace is cut "+strings.Join(cuts, ", and again ")+"."
	case ended != "":
		r.Outcome, r.Summary = Ended, "The trace ends at "+ended+", which dropped it."
	case unsaid != "":
		r.Outcome, r.Summary = Unknown, unsaid
	case len(r.Traces) == 0:
		r.Outcome, r.Summary = Untraced, "Nobody made a trace of it."
	default:
		r.Outcome, r.Summary = Whole, "It is one trace."
	}
	if r.Unsampled {
		r.Summary += " Where its header is not sampled, services that obey the flag record no span."
	}
}

// sameHeaders reports whether two ends of a hop saw the same.
func sameHeaders(a, b []header.Header) bool {
	return slices.EqualFunc(a, b, func(x, y header.Header) bool { return x.Name == y.Name && x.Value == y.Value })
}

// Named is how a sentence names a sender.
func Named(sender string) string {
	switch sender {
	case Client:
		return "the client"
	case Somebody, "":
		return "an unknown sender"
	}
	return sender
}
