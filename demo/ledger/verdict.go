package ledger

import (
	"cmp"
	"slices"
	"strings"

	"example.com/grafana-tempo-go-demo/demo/header"
)

// judge says what the receiver of a hop did with what arrived. It is instrumented if it was ever
// seen in a trace. A context is expected if the sender was, or may have been, in a trace.
func (h *Hop) judge(instrumented, expected bool) {
	var contexts, problems []string
	for _, x := range h.Arrived.Headers {
		switch {
		case x.TraceID != "" && x.TraceID == h.TraceID:
			h.Action, h.Says = Continued, h.continued(x)
			return
		case x.TraceID != "":
			contexts = append(contexts, x.Name)
		case !x.Valid:
			problems = append(problems, x.Name+" is malformed: "+x.Problem)
		}
	}
	names, problem := strings.Join(contexts, " and "), strings.Join(problems, ", and ")+"."
	traced := h.TraceID != ""
	switch {
	case h.Arrived.Source == NotKnown:
		h.Action, h.Says = NoAction, "The log of "+h.To+" does not say whether the client sent a trace id."
		if traced {
			h.Says = h.To + " started or continued the trace: its log does not say whether the client sent a trace id."
		}
	case names != "" && traced:
		h.Action, h.Says = IgnoredFormat, h.To+" ignored "+names+" and started trace "+h.TraceID+
			": it reads another format; see its OTEL_PROPAGATORS."
	case names != "" && instrumented:
		h.Action, h.Says = Dropped, h.To+" dropped the trace: it is instrumented, but was in no trace this time."
	case names != "":
		h.Action, h.Says = Dropped, h.To+" dropped the trace: it is not instrumented, so it neither reads the header nor sends it on."
	case len(problems) > 0 && traced:
		h.Action, h.Says = IgnoredMalformed, h.To+" ignored what arrived and started trace "+h.TraceID+", because "+problem
	case len(problems) > 0:
		h.Action, h.Says = Dropped, h.To+" dropped what arrived: it is not instrumented. "+
			"An instrumented service would have ignored it, because "+problem
	case !traced:
		h.Action, h.Says = NotReceived, h.To+" received no trace id, and started no trace."
	case expected:
		h.Action, h.Says = NotReceived, h.To+" received no trace id, and started trace "+h.TraceID+"."
	default:
		h.Action, h.Says = Started, h.To+" started a trace: no trace id arrived."
	}
}

// continued says how the receiver went on in the trace of x, the first header that has it.
func (h *Hop) continued(x header.Header) string {
	names, rest := x.Name, ""
	for _, other := range h.Arrived.Headers {
		if other.TraceID != "" && other.TraceID != x.TraceID {
			rest += " It did not follow " + other.Name + ", which has another trace id."
		} else if other.Name != x.Name && other.SpanID == x.SpanID {
			names += " and " + other.Name
		}
	}
	switch {
	case x.SpanID == h.SpanID:
		return h.To + " continued the trace in " + names + ", and made no span of its own." + rest
	case x.Unsampled(): // whether the receiver recorded a span only its answer says
		return h.To + " continued the trace in " + names + ", which is not sampled." + rest
	}
	return h.To + " continued the trace: it made the span in " + names + " the parent of its own." + rest
}

// conclude sums up what became of the trace.
func (r *Request) conclude() {
	endedAt, unsaid := "", ""
	var cuts, parts []string
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
		if h.TraceID != "" {
			if h.Action == Continued {
				r.From = cmp.Or(r.From, h.From) // it had the trace already
			}
			r.From, r.To = cmp.Or(r.From, h.To), h.To
			parts = appendNew(parts, h.TraceID)
		}
		for _, x := range slices.Concat(h.Left.Headers, h.Arrived.Headers, []header.Header{{TraceID: h.TraceID}}) {
			r.Traces = appendNew(r.Traces, x.TraceID)
		}
	}
	switch first := r.Hops[0]; {
	case first.Action == NotReceived && first.From != Client:
		unsaid = "No trace id arrived at " + first.To + ", so nobody can say which request led to this one."
	case r.Lost != "" && r.From != "":
		unsaid = "Nobody can say what " + r.Lost + " called next."
	}
	switch {
	case len(cuts) > 0:
		r.Outcome, r.Summary = Cut, "The trace is cut "+strings.Join(cuts, ", and again ")+"."
		if len(parts) > 1 {
			r.Parts = parts
		}
	case endedAt != "":
		r.Outcome, r.Summary = Ended, "The trace ends at "+endedAt+", which dropped it."
	case unsaid != "":
		r.Outcome, r.Summary = Unknown, unsaid
	case r.From == "":
		r.Outcome, r.Summary = Untraced, "Nobody made a trace of it."
	default:
		r.Outcome, r.Summary = Whole, Extends(r.From, r.To)
	}
	if r.Outcome != Whole {
		r.From, r.To = "", ""
	}
	r.Unsampled = r.unsampled()
	r.Summary += map[Extent]string{
		All: " It is not sampled: services that obey the flag record no span.", Part: " A part of it is not sampled.",
	}[r.Unsampled]
}

// Extends says from where to where a trace is whole.
func Extends(from, to string) string {
	if from == to {
		return "One trace, in " + to + " alone."
	}
	return "One trace, from " + Named(from) + " to " + to + "."
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

// unsampled looks at the headers of the traces that somebody worked in, or of all if nobody did.
func (r *Request) unsampled() (extent Extent) {
	said, own := map[bool]bool{}, map[string]bool{}
	for _, hop := range r.Hops {
		own[hop.TraceID] = true
	}
	delete(own, "")
	for _, hop := range r.Hops {
		for _, h := range hop.Arrived.Headers {
			if h.Sampled != nil && (own[h.TraceID] || len(own) == 0) {
				said[*h.Sampled] = true
			}
		}
	}
	switch {
	case !said[false]:
		return ""
	case said[true]:
		return Part
	}
	return All
}

func appendNew(list []string, s string) []string {
	if s == "" || slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}
