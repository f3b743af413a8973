// Package ledger is the hop ledger. For each request it shows, hop by hop, which propagation header
// left, which arrived, and what the receiver did with the trace.
//
// Nothing is put between the services for this. The ledger reads what is there anyway: the
// gateway's record of each request, and the line in which each service logs a request with its
// headers. Lines belong together if an id says so: the traceresponse of an answer names the span of
// the service, a header left and arrived, or a header arrived with the trace of the one service that
// calls and was at work. Where several would do, or no header left, the ledger joins none of them.
//
// A hop is one step of a request: from the client to the gateway, from there to a service, and from
// service to service. A context is a valid uber-trace-id or traceparent header.
package ledger

import (
	"time"

	"example.com/grafana-tempo-go-demo/demo/header"
)

// Names of senders that are neither a service nor the gateway.
const (
	Client   = "client" // whoever is outside
	Somebody = "?"      // a client or a service
)

// Action is what the receiver of a hop did with the trace.
type Action string

const (
	Started          Action = "started"           // no context came from outside: it started a trace
	Continued        Action = "continued"         // it went on in the trace that arrived
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
	Cut      Outcome = "cut"      // somebody started a new trace where there was one
	Ended    Outcome = "ended"    // somebody dropped the trace, and it went no further
	Untraced Outcome = "untraced" // nobody is known to have been in a trace
	Unknown  Outcome = "unknown"  // the records do not say
)

// Answer is what GET /api/ledger and demo ledger -json answer with.
type Answer struct {
	// Requests are newest first. Of those of a trace there are Total, and the newest are here.
	Requests []Request `json:"requests"`
	Total    int       `json:"total,omitempty"`
	// Services are those that said something of themselves, by name.
	Services map[string]Telemetry `json:"services,omitempty"`
}

// Telemetry is what a service's own log says of it.
type Telemetry struct {
	Started time.Time `json:"started,omitzero"` // when it began to listen, the last time
	Vain    string    `json:"vain,omitempty"`   // the endpoint to which it has sent spans in vain since
	Back    time.Time `json:"back,omitzero"`    // when its spans reached the back end again, the last time
}

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
	Summary    string  `json:"summary"` // the same in a sentence or two
	// Unsampled reports whether a header of it said that its sender records no span.
	Unsampled bool `json:"unsampled,omitempty"`
	// Traces are the ids of those in which somebody worked, in order; several if the request was cut.
	Traces []string `json:"traces"`
	// Hops are in order: from the client to the gateway, from there to a service, from there on.
	Hops []Hop `json:"hops"`
}

// Hop is one step of a request, from a sender to a receiver. What is not known of it is absent.
type Hop struct {
	From string `json:"from"` // a service or the gateway, Client or Somebody
	To   string `json:"to"`

	// Left is what From sent, and Arrived what To received; nil if nobody wrote it down. Services do
	// not log what they send.
	Left    []header.Header `json:"left"`
	Arrived []header.Header `json:"arrived"`

	Action  Action `json:"action"`             // what To did with what arrived
	Says    string `json:"says"`               // the same in a sentence or two
	TraceID string `json:"trace_id,omitempty"` // the trace and the span that To worked under, if any
	SpanID  string `json:"span_id,omitempty"`
	Status  int    `json:"status,omitempty"` // what To answered

	TraceResponse *header.Header `json:"traceresponse,omitempty"` // of the answer, where From recorded it
}
