package story

import (
	"time"

	"example.com/grafana-tempo-go-demo/demo/ledger"
)

const (
	// absentAfter is how long to wait for a trace before it is said not to be here.
	absentAfter = 10 * time.Second
	// briefly is how long a page looks as if it loaded.
	briefly = 1200 * time.Millisecond
)

// SampledMeans stands once where a header is shown, or the lack of a trace.
const SampledMeans = "Sampled (flag 1): the sender records its span, and a receiver that obeys the flag records its own too. " +
	"Not sampled (flag 0): one that obeys it (OTEL_TRACES_SAMPLER=parentbased_…) records none, and one with always_on, " +
	"the demo's default, records all the same."

// Absent is what is known of a trace of which no span is here.
type Absent struct {
	// Icon is wait or unplugged, or empty as long as there is nothing to say yet.
	Icon  string   `json:"icon"`
	Title string   `json:"title"`
	Texts []string `json:"texts"`
	// Settled reports whether waiting is over, and Again whether it may help to begin anew.
	Settled bool `json:"settled"`
	Again   bool `json:"again"`
}

// NotAnID is what there is to say of an address that names no trace.
func NotAnID(text string) Absent {
	return Absent{"error", "This is not a trace id", []string{
		"A trace id has up to 32 hexadecimal digits, not all of them 0. Leading zeros may be left out.", text}, true, false}
}

// Missing says why no span of a trace is here. Unsampled is what somebody else knows of it; waited is
// how long they have been waiting. Kept reports whether anybody keeps a ledger, whose requests of
// this trace the others are.
func Missing(id string, kept bool, requests []ledger.Request, unsampledElsewhere bool, waited time.Duration) Absent {
	none := unsampledElsewhere || unsampled(id, requests)
	used := anyHop(requests, func(h ledger.Hop) bool { return h.TraceID == id })
	over := waited > absentAfter
	switch {
	case none:
		texts := []string{"The flag in its header is 0. A service that obeys it records no span, so probably none will come."}
		if !kept {
			texts = append(texts, SampledMeans)
		}
		return Absent{"unplugged", "This call was not sampled", append(texts, id), over, over}
	case !over && waited < briefly:
		return Absent{}
	case !over:
		return Absent{"wait", "Looking for this trace",
			[]string{"Spans are sent a moment after the answer.", id}, false, false}
	}
	var why string
	switch {
	case !kept:
		why = "It was not sampled, a collector in front of the trace store did not keep it, its spans do not reach the store, or it is older than what the store keeps."
	case len(requests) == 0:
		why = "Neither the trace store nor the hop ledger has this id: it is mistyped, or older than what they keep."
	case !used:
		why = "A request brought this id, and nobody here went on in its trace: the hop ledger says why."
	default:
		why = "The hop ledger has the request, but none of its spans is here: their exporters do not reach the trace store, or the store no longer keeps them."
	}
	return Absent{"unplugged", "This trace is not here", []string{why, id}, true, true}
}
