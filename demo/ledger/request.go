package ledger

import "time"

// Request is one request from outside, with what became of its trace context. It is what GET /api/ledger answers with, in
// a list.
type Request struct {
	// ID names the request as long as its record is kept: p and a number if the proxy recorded it, r and a number if only a
	// service did.
	ID string `json:"id"`
	// Time is when it arrived where it was first seen.
	Time time.Time `json:"time"`
	// Method, Host, Path and Query are what was asked for.
	Method string `json:"method,omitempty"`
	Host   string `json:"host,omitempty"`
	Path   string `json:"path,omitempty"`
	Query  string `json:"query,omitempty"`
	// Status is what the client was answered, and DurationMS how long that took, in milliseconds; absent if not known.
	Status     int     `json:"status,omitempty"`
	DurationMS float64 `json:"duration_ms,omitempty"`
	// Outcome is one of the Outcome constants, and Summary the same in a sentence.
	Outcome Outcome `json:"outcome"`
	Summary string  `json:"summary"`
	// Traces are the ids of all traces that the request had to do with, in order. The ids of hops that are not tied to it
	// come last.
	Traces []string `json:"traces"`
	// Hops are in order: from the client to the proxy, from there to a service, from there on.
	Hops []Hop `json:"hops"`
	// Untied are hops that carry no context, and so cannot be tied to this request or to any other. They arrived while this
	// request was open at a service that it may have called. At most 8 are listed, of UntiedTotal.
	Untied      []Hop `json:"untied"`
	UntiedTotal int   `json:"untied_total"`
}

// Outcome says in a word what became of a request's trace.
type Outcome string

// The outcomes.
const (
	// Whole: everybody who is known to have taken part did so in one trace.
	Whole Outcome = "whole"
	// Cut: somebody started a trace of its own where there was one already.
	Cut Outcome = "cut"
	// Ended: somebody who is not instrumented received the context, and it went no further.
	Ended Outcome = "ended"
	// Untraced: nobody is known to have been in a trace.
	Untraced Outcome = "untraced"
	// Unknown: the records do not tell.
	Unknown Outcome = "unknown"
)

// Hop is one step of a request, from who sent it to who received it.
type Hop struct {
	// From and To are names of services or of the proxy, or client for whoever is outside.
	From string `json:"from"`
	To   string `json:"to"`
	// Time is when it arrived; absent if nobody recorded that.
	Time time.Time `json:"time,omitzero"`
	// Left is what From sent, and Arrived what To received.
	Left    Side `json:"left"`
	Arrived Side `json:"arrived"`
	// Action is one of the Action constants: what To did with what arrived. Says is the same in a sentence or two.
	Action Action `json:"action"`
	Says   string `json:"says"`
	// TraceID and SpanID are those that To itself worked under; absent if it worked under none, or that is not known.
	TraceID string `json:"trace_id,omitempty"`
	SpanID  string `json:"span_id,omitempty"`
	// Status is what To answered; absent if not known.
	Status int `json:"status,omitempty"`
	// TraceResponse is the header traceresponse that came back.
	TraceResponse *Response `json:"traceresponse,omitempty"`
	// Tie says by what the hop is known to belong to this request.
	Tie Tie `json:"tie"`
	// Ambiguous tells that it may as well belong to another request of the same trace.
	Ambiguous bool `json:"ambiguous,omitempty"`
}

// Side is what is known of one end of a hop.
type Side struct {
	// Source says where Headers come from.
	Source Source `json:"source"`
	// Headers are the propagation headers; none at all is an empty list. It says nothing if Source is unknown.
	Headers []Header `json:"headers"`
}

// Source says where a knowledge comes from.
type Source string

// The sources.
const (
	// Recorded: this end wrote it down.
	Recorded Source = "recorded"
	// Inferred: the other end wrote it down, and there is nothing between the two.
	Inferred Source = "inferred"
	// NotKnown: neither did.
	NotKnown Source = "unknown"
)

// Response is a traceresponse header.
type Response struct {
	// Source is inferred where nobody wrote the header down: then the value is missing, and the ids are those of the
	// receiver's own log.
	Source Source `json:"source"`
	Header
}

// Action is what the receiver of a hop did with the trace.
type Action string

// The actions.
const (
	// Started: it received no context from outside, and started a trace.
	Started Action = "started"
	// Continued: it went on in the trace that it received.
	Continued Action = "continued"
	// Dropped: it received a context, and did nothing with it. It is not instrumented.
	Dropped Action = "dropped"
	// IgnoredMalformed: it received something that is no context, and started a trace.
	IgnoredMalformed Action = "ignored-malformed"
	// IgnoredFormat: it received a valid context in a format that it does not read, and started a trace.
	IgnoredFormat Action = "ignored-format"
	// NotReceived: no context arrived, though the sender may have had one. If it is instrumented it started a trace.
	NotReceived Action = "not-received"
	// NoAction: the records do not tell.
	NoAction Action = "unknown"
)

// Tie is the reason why a hop is known to belong to a request.
type Tie string

// The ties, strongest first.
const (
	// TieFirst: it is the request's first hop.
	TieFirst Tie = "first"
	// TieResponse: the answer's traceresponse names the receiver's span.
	TieResponse Tie = "traceresponse"
	// TieContext: the trace id and span id that left are those that arrived.
	TieContext Tie = "context"
	// TieValue: the value that left, though malformed, is the one that arrived, and no other request had the same.
	TieValue Tie = "value"
	// TieTrace: the receiver got the sender's trace id while the sender was at work. The sender does not log the span id
	// that it sends.
	TieTrace Tie = "trace"
	// TieRecord: the sender recorded that it sent the request, and it was not found at the receiver.
	TieRecord Tie = "record"
	// TieNone: nothing ties it; see Request.Untied.
	TieNone Tie = "none"
)
