// Package ledger is the hop ledger. For each request it shows, hop by hop, which propagation header
// left, which arrived, and what the receiver did with the trace.
//
// Nothing is put between the services for this. The ledger reads what is there anyway: the proxy's
// record of each request that passes it, and the line in which each service logs a request with its
// headers. The rest it infers, and it says so where it does. The terms below are also those of the
// code and of the JSON.
//
// # What is known of a hop
//
// A hop is one step of a request: from the client to the proxy, from there to a service, and from
// service to service. A context is a valid uber-trace-id or traceparent header.
//
// The source of the headers at each end of a hop ([Side]) is one of:
//   - recorded: this end wrote them down.
//   - inferred: the other end did, and nothing stands between the two.
//   - unknown: neither did.
//
// The [Action] is what the receiver did:
//   - started: no context came from outside, and it started a trace.
//   - continued: it went on in the trace that arrived.
//   - dropped: headers arrived, and it took part in no trace, most likely for lack of
//     instrumentation.
//   - ignored-malformed: what arrived is no context, and it started a trace.
//   - ignored-format: a context arrived in a format that it does not read, and it started a trace.
//   - not-received: no context arrived, though the sender may have had one. An instrumented
//     receiver started a trace.
//   - unknown: the records do not say.
//
// The [Outcome] sums up a request:
//   - whole: all who are known to have taken part did so in one trace.
//   - cut: somebody started a new trace where there was one, or a trace is severed (see below).
//   - ended: somebody dropped the trace, and it went no further.
//   - untraced: nobody is known to have been in a trace.
//   - unknown: the records do not say.
//
// # Which lines belong to a request
//
// A [Tie] is the reason why a hop belongs to a request. The strongest comes first:
//   - first: it is the request's first hop.
//   - traceresponse: the answer's traceresponse names the receiver's span.
//   - context: the trace id and span id that left are those that arrived.
//   - value: the malformed value that left also arrived, and no other request had the same.
//   - trace: the receiver got the sender's trace id while the sender was at work. A sender does not
//     log the span id that it sends.
//   - record: the proxy recorded that it sent the request on; no line of the receiver was found.
//   - none: nothing ties it; it is untied.
//
// A line is claimed once it is tied. Its tie is doubtful, which the JSON calls ambiguous, if
// another request of the same trace could have claimed it too.
//
// A line is a candidate of a request if it arrived without a context, at a service that the request
// may have called, while the request was open. Any number of requests may share a candidate. It is
// listed with them as untied, and is no request of its own. All other lines that are not claimed
// start a request.
//
// A trace is severed after an instrumented service if that got an answer from the service it calls,
// but no line of the latter carries the trace, and there are candidates.
package ledger
