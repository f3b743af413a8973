package ledger

import (
	"cmp"
	"slices"
	"strings"

	"example.com/grafana-tempo-go-demo/demo/header"
)

// judge says what the receiver of a hop did with what arrived. A context is expected if the sender was,
// or may have been, in a trace.
func (h *Hop) judge(expected bool) {
	var contexts, problems []string
	for _, x := range h.Arrived {
		switch {
		case x.TraceID != "" && x.TraceID == h.TraceID:
			h.Action, h.Says = Continued, h.continued(x)
			return
		case x.TraceID != "":
			contexts = append(contexts, x.Name)
		case x.Problem != "":
			problems = append(problems, x.Name+" is malformed: "+x.Problem+".")
		}
	}
	traced, says := h.TraceID != "", ""
	switch {
	case h.Arrived == nil:
		h.Action, says = NoAction, "logged no header that arrived, and may not keep them."
	case len(contexts)+len(problems) > 0 && !traced:
		h.Action, says = Dropped, "dropped the trace: without instrumentation, a service neither reads the header nor sends it on."
	case len(contexts) > 0:
		h.Action, says = IgnoredFormat, "ignored "+strings.Join(contexts, " and ")+" and started trace "+h.TraceID+
			": it reads another format; see its OTEL_PROPAGATORS."
	case len(problems) > 0:
		h.Action, says = IgnoredMalformed, "ignored what arrived and started trace "+h.TraceID+". "+strings.Join(problems, " ")
	case !traced:
		h.Action, says = NotReceived, "received no trace id, and started no trace."
	case expected:
		h.Action, says = NotReceived, "received no trace id, and started trace "+h.TraceID+"."
	default:
		h.Action, says = Started, "started a trace: no trace id arrived."
	}
	h.Says = h.To + " " + says
}

// continued says how the receiver went on in the trace of x, the first header that has it.
func (h *Hop) continued(x header.Header) string {
	names := x.Name
	for _, other := range h.Arrived {
		if other.Name != x.Name && other.TraceID == x.TraceID && other.SpanID == x.SpanID {
			names += " and " + other.Name
		}
	}
	switch {
	case x.SpanID == h.SpanID:
		return h.To + " continued the trace in " + names + ", and made no span of its own."
	case x.Unsampled():
		return h.To + " continued the trace in " + names + ", which is not sampled."
	}
	return h.To + " continued the trace: its span's parent is the one named in " + names + "."
}

// conclude sums up what became of the trace. Nobody can say what lost, a service, called next.
func (r *Request) conclude(lost string) {
	endedAt, unsaid := "", ""
	var cuts []string
	for _, h := range r.Hops {
		switch {
		case h.Action == IgnoredMalformed, h.Action == IgnoredFormat,
			h.Action == NotReceived && h.From != Client && len(r.Traces) > 0:
			cuts = append(cuts, "before "+h.To)
		case h.Action == Dropped:
			endedAt = cmp.Or(endedAt, h.To)
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
	switch first := r.Hops[0]; {
	case first.Action == NotReceived && first.From != Client:
		unsaid = "No trace id arrived at " + first.To + ", so nobody can say which request led to this one."
	case lost != "" && len(r.Traces) > 0:
		unsaid = "Nobody can say what " + lost + " called next."
	}
	switch {
	case len(cuts) > 0:
		r.Outcome, r.Summary = Cut, "The trace is cut "+strings.Join(cuts, ", and again ")+"."
	case endedAt != "":
		r.Outcome, r.Summary = Ended, "The trace ends at "+endedAt+", which dropped it."
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
