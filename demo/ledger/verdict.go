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
	traced, says := h.TraceID != "", ""
	switch {
	case h.Arrived.Source == NotKnown:
		h.Action, says = NoAction, "logged no trace, and its log does not say whether a trace id arrived."
		if traced {
			says = "started or continued the trace: its log does not say whether a trace id arrived."
		}
	case names != "" && traced:
		h.Action, says = IgnoredFormat, "ignored "+names+" and started trace "+h.TraceID+
			": it reads another format; see its OTEL_PROPAGATORS."
	case names != "" && instrumented:
		h.Action, says = Dropped, "dropped the trace: it is instrumented, but was in no trace this time."
	case names != "":
		h.Action, says = Dropped, "dropped the trace: it is not instrumented, so it neither reads the header nor sends it on."
	case len(problems) > 0 && traced:
		h.Action, says = IgnoredMalformed, "ignored what arrived and started trace "+h.TraceID+", because "+problem
	case len(problems) > 0:
		h.Action, says = Dropped, "dropped what arrived: it is not instrumented. "+
			"An instrumented service would have ignored it, because "+problem
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
	return h.To + " continued the trace: its span's parent is the one named in " + names + "." + rest
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
		r.Outcome, r.Summary = Whole, extends(r.From, r.To)
	}
	if r.Outcome != Whole {
		r.From, r.To = "", ""
	}
	switch unsampled, sampled := r.says(false, parts), r.says(true, parts); {
	case unsampled && sampled:
		r.Unsampled = "part"
		r.Summary += " A part of it is not sampled."
	case unsampled:
		r.Unsampled = "all"
		r.Summary += " It is not sampled: services that obey the flag record no span."
	}
}

// says reports whether a header has a sampled flag, among those of the traces that somebody worked in,
// or of all if nobody did.
func (r *Request) says(sampled bool, traces []string) bool {
	return slices.ContainsFunc(r.Hops, func(hop Hop) bool {
		return slices.ContainsFunc(hop.Arrived.Headers, func(h header.Header) bool {
			return h.Sampled != nil && *h.Sampled == sampled && (len(traces) == 0 || slices.Contains(traces, h.TraceID))
		})
	})
}

// extends says from where to where a trace is whole.
func extends(from, to string) string {
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

func appendNew(list []string, s string) []string {
	if s == "" || slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}
