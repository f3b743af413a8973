package ledger

import (
	"time"

	"example.com/grafana-tempo-go-demo/demo/header"
)

// Request is one request from outside. What is not known of it is absent.
type Request struct {
	// Time is when it arrived where it was first seen.
	Time   time.Time `json:"time"`
	Method string    `json:"method,omitempty"`
	Host   string    `json:"host,omitempty"`
	Path   string    `json:"path,omitempty"`
	Query  string    `json:"query,omitempty"`
	// Agent is the User-Agent that the client sent, where the gateway recorded it.
	Agent string `json:"user_agent,omitempty"`
	// Status is what the client was answered, and DurationMS how many milliseconds that took.
	Status     int     `json:"status,omitempty"`
	DurationMS float64 `json:"duration_ms,omitempty"`
	Outcome    Outcome `json:"outcome"` // sums up what became of the trace
	Summary    string  `json:"summary"` // the same in a sentence
	// Traces are the ids of the hops' traces, in order; those of untied hops come last.
	Traces []string `json:"traces"`
	// Hops are in order: from the client to the gateway, from there to a service, from there on.
	Hops []Hop `json:"hops"`
	// Untied are the request's candidates: at most 8 are listed, of UntiedTotal.
	Untied      []Hop `json:"untied"`
	UntiedTotal int   `json:"untied_total"`
}

// Hop is one step of a request, from a sender to a receiver. What is not known of it is absent.
type Hop struct {
	// From and To are names of services or of the gateway, or client for whoever is outside.
	From string `json:"from"`
	To   string `json:"to"`

	Time    time.Time `json:"time,omitzero"`      // when it arrived
	Left    Side      `json:"left"`               // what From sent
	Arrived Side      `json:"arrived"`            // what To received
	Action  Action    `json:"action"`             // what To did with what arrived
	Says    string    `json:"says"`               // the same in a sentence or two
	TraceID string    `json:"trace_id,omitempty"` // the trace and the span that To worked under, if any
	SpanID  string    `json:"span_id,omitempty"`
	Status  int       `json:"status,omitempty"` // what To answered

	// Kernel reports whether the kernel wrote the header that arrived, for a sender that writes none;
	// of an untied hop it says that this may be so.
	Kernel bool `json:"kernel,omitempty"`

	TraceResponse *Response `json:"traceresponse,omitempty"` // the header that came back
	// Ambiguous reports whether the hop may belong to another request of the same trace.
	Ambiguous bool `json:"ambiguous,omitempty"`
}

// Side is what is known of one end of a hop. Headers is empty for none, and if unknown.
type Side struct {
	Source  Source          `json:"source"`
	Headers []header.Header `json:"headers"`
}

// Response is a traceresponse header. One without a value is inferred from the receiver's log.
type Response struct {
	Source Source `json:"source"`
	header.Header
}
