// Package ledger is the hop ledger. For each request it shows, hop by hop, which propagation header
// left, which arrived, and what the receiver did with the trace.
//
// Nothing is put between the services for this. The ledger reads what is there anyway: the
// gateway's record of each request, and the line in which each service logs a request with its
// headers. It infers the rest, and says so.
//
// A hop is one step of a request: from the client to the gateway, from there to a service, and from
// service to service. A context is a valid uber-trace-id or traceparent header.
//
// # Which lines belong to a request
//
// The strongest sign ties a service's line to the gateway's request: the traceresponse names its
// span, a context left and arrived, or the gateway's trace arrived. Where no context left, a line
// is tied that has the same headers and came meanwhile, if it can be no other's. A line that did
// not come through the gateway is tied to one of the service that calls, in whose trace it is: a
// sender does not log the span id it sends. The tie is ambiguous if several would do.
//
// A line is a candidate of a request if it arrived without a context, at a service that the request
// may have called, while the request was open. So is one with a context that nobody else knows,
// where neither sender nor receiver is instrumented: the kernel may have written it, by eBPF. Any
// number of requests may share a candidate. It is listed with them as untied, and is no request of
// its own. All other lines that are not tied start a request.
//
// A trace is severed after an instrumented service if that got an answer from the service it calls,
// but no line of the latter carries the trace, and there are candidates.
package ledger

// Source says who wrote down the headers at one end of a hop.
type Source string

const (
	Recorded Source = "recorded" // this end did
	Inferred Source = "inferred" // the other end did, and nothing stands between the two
	NotKnown Source = "unknown"  // neither did
)

// Action is what the receiver of a hop did with the trace.
type Action string

const (
	Started          Action = "started"           // no context came from outside: it started a trace
	Continued        Action = "continued"         // it went on in the trace that arrived
	Watched          Action = "watched"           // it took no part, and the kernel did for it, by eBPF
	Dropped          Action = "dropped"           // it took no part in the trace; likely not instrumented
	IgnoredMalformed Action = "ignored-malformed" // what arrived is no context: it started a trace
	IgnoredFormat    Action = "ignored-format"    // it does not read this format: it started a trace
	NotReceived      Action = "not-received"      // no context arrived, though the sender may have had one
	NoAction         Action = "unknown"           // the records do not say
)

// Outcome is what became of a request's trace.
type Outcome string

const (
	Whole    Outcome = "whole"    // all who are known to have taken part did so in one trace
	Cut      Outcome = "cut"      // somebody started a new trace where there was one, or it is severed
	Ended    Outcome = "ended"    // somebody dropped the trace, and it went no further
	Untraced Outcome = "untraced" // nobody is known to have been in a trace
	Unknown  Outcome = "unknown"  // the records do not say
)
