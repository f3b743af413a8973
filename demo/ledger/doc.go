// Package ledger is the hop ledger. For each request it shows, hop by hop, which propagation header
// left, which arrived, and what the receiver did with the trace.
//
// Nothing is put between the services for this. The ledger reads what is there anyway: the
// gateway's record of each request, and the line in which each service logs a request with its
// headers. It infers the rest, and says so.
//
// # What is known of a hop
//
// A hop is one step of a request: from the client to the gateway, from there to a service, and from
// service to service. A context is a valid uber-trace-id or traceparent header. See [Source],
// [Action], [Outcome] and [Tie].
//
// # Which lines belong to a request
//
// A line without a context that came through the gateway is tied to the gateway's request if their
// times fit each other and nothing else.
//
// A line is claimed once it is tied. Its tie is doubtful, which the JSON calls ambiguous, if
// another request of the same trace could have claimed it too.
//
// A line is a candidate of a request if it arrived without a context, at a service that the request
// may have called, while the request was open. So is one with a context that nobody else knows,
// where neither sender nor receiver is instrumented: the kernel may have written it, by eBPF. Any
// number of requests may share a candidate. It is listed with them as untied, and is no request of
// its own. All other lines that are not claimed start a request.
//
// A trace is severed after an instrumented service if that got an answer from the service it calls,
// but no line of the latter carries the trace, and there are candidates.
package ledger

// Source says who wrote the headers at one end of a hop down.
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

// Tie is the reason why a hop belongs to a request.
type Tie string

// The strongest reason comes first. TieTrace is weak: a sender does not log the span id it sends.
const (
	TieFirst    Tie = "first"         // it is the request's first hop
	TieResponse Tie = "traceresponse" // the answer's traceresponse names the receiver's span
	TieContext  Tie = "context"       // the trace id and span id that left are those that arrived
	TieValue    Tie = "value"         // a malformed value left and arrived, and no other request had it
	TieTrace    Tie = "trace"         // the sender's trace id arrived while the sender was at work
	TieTime     Tie = "time"          // no other line fits the time in which the gateway waited, and it fits no other request
	TieRecord   Tie = "record"        // the gateway sent it on, and no line of the receiver was found
	TieNone     Tie = "none"          // nothing ties it; it is untied
)
