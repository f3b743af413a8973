package ledger

import "time"

// Request is one request from outside, with what became of its trace context. The HTTP API and demo
// ledger -json answer with a list of them; see Answer.
type Request struct {
	// ID names the request while its record is kept: p and a number if the proxy recorded it, r and
	// a number if only a service did.
	ID string `json:"id"`
	// Time is when it arrived where it was first seen.
	Time time.Time `json:"time"`
	// Method, Host, Path and Query are what was asked for.
	Method string `json:"method,omitempty"`
	Host   string `json:"host,omitempty"`
	Path   string `json:"path,omitempty"`
	Query  string `json:"query,omitempty"`
	// Status is what the client was answered, and DurationMS how many milliseconds that took;
	// absent if not known.
	Status     int     `json:"status,omitempty"`
	DurationMS float64 `json:"duration_ms,omitempty"`
	// Outcome sums up what became of the trace, and Summary says the same in a sentence.
	Outcome Outcome `json:"outcome"`
	Summary string  `json:"summary"`
	// Traces are the ids of the traces that the hops had to do with, in order. Those of untied hops
	// come last.
	Traces []string `json:"traces"`
	// Hops are in order: from the client to the proxy, from there to a service, from there on.
	Hops []Hop `json:"hops"`
	// Untied are the request's candidates: at most 8 are listed, of UntiedTotal.
	Untied      []Hop `json:"untied"`
	UntiedTotal int   `json:"untied_total"`
}

// Hop is one step of a request, from a sender to a receiver.
type Hop struct {
	// From and To are names of services or of the proxy, or client for whoever is outside.
	From string `json:"from"`
	To   string `json:"to"`
	// Time is when it arrived; absent if nobody recorded that.
	Time time.Time `json:"time,omitzero"`
	// Left is what From sent, and Arrived what To received.
	Left    Side `json:"left"`
	Arrived Side `json:"arrived"`
	// Action is what To did with what arrived, and Says the same in a sentence or two.
	Action Action `json:"action"`
	Says   string `json:"says"`
	// TraceID and SpanID are those that To worked under; absent if it worked under none, or if that
	// is not known.
	TraceID string `json:"trace_id,omitempty"`
	SpanID  string `json:"span_id,omitempty"`
	// Status is what To answered; absent if not known.
	Status int `json:"status,omitempty"`
	// TraceResponse is the header traceresponse that came back.
	TraceResponse *Response `json:"traceresponse,omitempty"`
	// Tie is the reason why the hop belongs to this request, and Ambiguous marks a doubtful one.
	Tie       Tie  `json:"tie"`
	Ambiguous bool `json:"ambiguous,omitempty"`
}

// Side is what is known of one end of a hop.
type Side struct {
	// Source says who wrote Headers down.
	Source Source `json:"source"`
	// Headers are the propagation headers; an empty list if there were none, or if Source is
	// unknown.
	Headers []Header `json:"headers"`
}

// Response is a traceresponse header. Where its value is missing, nobody wrote it down, and its ids
// are those that the receiver logged.
type Response struct {
	Source Source `json:"source"`
	Header
}

// The package comment explains the words that these types hold.
type (
	Source  string // who wrote headers down
	Action  string // what a receiver did with the trace
	Outcome string // what became of a request's trace
	Tie     string // why a hop belongs to a request
)

// Who wrote headers down.
const (
	Recorded Source = "recorded"
	Inferred Source = "inferred"
	NotKnown Source = "unknown"
)

// What a receiver did with the trace.
const (
	Started          Action = "started"
	Continued        Action = "continued"
	Dropped          Action = "dropped"
	IgnoredMalformed Action = "ignored-malformed"
	IgnoredFormat    Action = "ignored-format"
	NotReceived      Action = "not-received"
	NoAction         Action = "unknown"
)

// What became of a request's trace.
const (
	Whole    Outcome = "whole"
	Cut      Outcome = "cut"
	Ended    Outcome = "ended"
	Untraced Outcome = "untraced"
	Unknown  Outcome = "unknown"
)

// Why a hop belongs to a request.
const (
	TieFirst    Tie = "first"
	TieResponse Tie = "traceresponse"
	TieContext  Tie = "context"
	TieValue    Tie = "value"
	TieTrace    Tie = "trace"
	TieRecord   Tie = "record"
	TieNone     Tie = "none"
)
