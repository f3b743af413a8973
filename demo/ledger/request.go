package ledger

import "time"

// Request is one request from outside, with what became of its trace context. What is not known of
// it is absent.
type Request struct {
	// Time is when it arrived where it was first seen.
	Time   time.Time `json:"time"`
	Method string    `json:"method,omitempty"`
	Host   string    `json:"host,omitempty"`
	Path   string    `json:"path,omitempty"`
	Query  string    `json:"query,omitempty"`
	// Status is what the client was answered, and DurationMS how many milliseconds that took.
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

// Hop is one step of a request, from a sender to a receiver. What is not known of it is absent.
type Hop struct {
	// From and To are names of services or of the proxy, or client for whoever is outside.
	From string `json:"from"`
	To   string `json:"to"`
	// Time is when it arrived.
	Time time.Time `json:"time,omitzero"`
	// Left is what From sent, and Arrived what To received.
	Left    Side `json:"left"`
	Arrived Side `json:"arrived"`
	// Action is what To did with what arrived, and Says the same in a sentence or two.
	Action Action `json:"action"`
	Says   string `json:"says"`
	// TraceID and SpanID are those that To worked under, if any.
	TraceID string `json:"trace_id,omitempty"`
	SpanID  string `json:"span_id,omitempty"`
	// Status is what To answered.
	Status int `json:"status,omitempty"`
	// TraceResponse is the header traceresponse that came back.
	TraceResponse *Response `json:"traceresponse,omitempty"`
	// Tie is the reason why the hop belongs to this request, and Ambiguous marks a doubtful one.
	Tie       Tie  `json:"tie"`
	Ambiguous bool `json:"ambiguous,omitempty"`
}

// Side is what is known of one end of a hop. Its headers are an empty list if there were none, or
// if the source is unknown.
type Side struct {
	Source  Source   `json:"source"`
	Headers []Header `json:"headers"`
}

// Response is a traceresponse header. Where its value is missing, nobody wrote it down, and its ids
// are those that the receiver logged.
type Response struct {
	Source Source `json:"source"`
	Header
}
