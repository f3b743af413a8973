package ledger

import (
	"cmp"
	"slices"
	"strings"

	"example.com/grafana-tempo-go-demo/demo/header"
)

// judge says what the receiver of a hop did with what arrived. It is instrumented if it was ever
// seen in a trace. A context is expected if the sender was, or may have been, in a trace.
func judge(h Hop, instrumented, expected bool) (Action, string) {
	contexts, malformed := split(h.Arrived.Headers)
	var names, problems []string
	for _, c := range contexts {
		if c.TraceID == h.TraceID {
			return Continued, continued(h, c, contexts)
		}
		names = append(names, c.Name)
	}
	for _, m := range malformed {
		problems = append(problems, m.Name+" is malformed: "+m.Problem)
	}
	problem := strings.Join(problems, ", and ") + "."
	switch traced := h.TraceID != ""; {
	case h.Arrived.Source == NotKnown && traced:
		return NoAction, h.To + " started or continued the trace: its log does not say whether the client sent a trace id."
	case h.Arrived.Source == NotKnown:
		return NoAction, "The log of " + h.To + " does not say whether the client sent a trace id."
	case len(contexts) > 0 && traced:
		return IgnoredFormat, h.To + " ignored " + strings.Join(names, " and ") + " and started trace " + h.TraceID +
			": it reads another format; see its OTEL_PROPAGATORS."
	case len(contexts) > 0 && instrumented:
		return Dropped, h.To + " dropped the trace: it is instrumented, but was in no trace this time."
	case len(contexts) > 0:
		return Dropped, h.To + " dropped the trace: it is not instrumented, so it neither reads the header nor sends it on."
	case len(malformed) > 0 && traced:
		return IgnoredMalformed, h.To + " ignored what arrived and started trace " + h.TraceID + ", because " + problem
	case len(malformed) > 0:
		return Dropped, h.To + " dropped what arrived: it is not instrumented. " +
			"An instrumented service would have ignored it, because " + problem
	case !traced:
		return NotReceived, h.To + " received no trace id, and started no trace."
	case h.From == client:
		return Started, h.To + " started a trace: no trace id arrived."
	}
	action := Started
	if expected {
		action = NotReceived
	}
	return action, h.To + " received no trace id, and started trace " + h.TraceID + "."
}

// continued says how the receiver went on in the trace of c, one of the contexts that arrived.
func continued(h Hop, c header.Header, contexts []header.Header) string {
	names, rest := c.Name, ""
	for _, other := range contexts {
		if other.TraceID != c.TraceID {
			rest += " It did not follow " + other.Name + ", which has another trace id."
		} else if other.Name != c.Name && other.SpanID == c.SpanID {
			names += " and " + other.Name
		}
	}
	switch {
	case c.SpanID == h.SpanID:
		return h.To + " continued the trace in " + names + ", and made no span of its own." + rest
	case !*c.Sampled: // whether the receiver recorded a span only its answer says
		return h.To + " continued the trace in " + names + ", which is not sampled." + rest
	}
	return h.To + " continued the trace: it made the span in " + names + " the parent of its own." + rest
}

// conclude sums up what became of the trace. Severed is the service after which it is severed.
func conclude(r *Request, severed string) {
	endedAt, first, last, handedOn, unknown := "", "", "", "", false
	var cuts []string
	for _, h := range r.Hops {
		r.addTraces(h)
		switch {
		case h.Action == IgnoredMalformed, h.Action == IgnoredFormat,
			h.Action == NotReceived && h.From != client && len(r.Traces) > 0:
			cuts = append(cuts, "before "+h.To)
		case h.Action == Dropped:
			endedAt = cmp.Or(endedAt, h.To)
		case h.Kernel:
			handedOn = h.To
		case h.Action == NoAction && h.TraceID == "":
			unknown = true
		}
		if h.TraceID != "" {
			if h.Action == Continued && first == "" {
				first = h.From // it had the trace already
			}
			first, last = cmp.Or(first, h.To), h.To
		}
	}
	if severed != "" {
		cuts = append(cuts, "after "+severed+": no request with its trace id reached the service that it calls")
	}
	switch {
	case len(cuts) > 0:
		r.Outcome, r.Summary = Cut, "The trace is cut "+strings.Join(cuts, ", and again ")+"."
	case endedAt != "":
		r.Outcome, r.Summary = Ended, "The trace ends at "+endedAt+", which dropped it."
	case unknown:
		r.Outcome, r.Summary = Unknown, "The records do not say what became of the trace."
	case handedOn != "":
		r.Outcome, r.Summary = Whole, "One trace, from "+first+" to "+last+"; the kernel passed it on to "+handedOn+"."
	case first == "":
		r.Outcome, r.Summary = Untraced, "Nobody made a trace of it."
	case first == last:
		r.Outcome, r.Summary = Whole, "One trace, in "+first+" alone."
	default:
		r.Outcome, r.Summary = Whole, "One trace, from "+strings.Replace(first, client, "the client", 1)+" to "+last+"."
	}
	r.Summary += r.unsampled()
	for _, h := range r.Untied {
		r.addTraces(h)
	}
}

// unsampled says so of a request if headers of its traces do, and not those that everybody ignored.
func (r *Request) unsampled() string {
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
		return " A part of it is not sampled."
	}
	return " It is not sampled: services that obey the flag record no span."
}

// addTraces adds the ids of the traces that a hop had to do with.
func (r *Request) addTraces(h Hop) {
	for _, header := range slices.Concat(h.Left.Headers, h.Arrived.Headers, []header.Header{{TraceID: h.TraceID}}) {
		if header.TraceID != "" && !slices.Contains(r.Traces, header.TraceID) {
			r.Traces = append(r.Traces, header.TraceID)
		}
	}
}

func sameHeaders(a, b []header.Header) bool {
	return slices.EqualFunc(a, b, func(x, y header.Header) bool { return x.Name == y.Name && x.Value == y.Value })
}

// split returns the contexts among headers, and those that should be contexts but are malformed.
func split(headers []header.Header) (contexts, malformed []header.Header) {
	for _, h := range headers {
		if h.TraceID != "" {
			contexts = append(contexts, h)
		} else if !h.Valid {
			malformed = append(malformed, h)
		}
	}
	return contexts, malformed
}
