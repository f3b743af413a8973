// Package lab has the ways in which the telemetry can be broken on purpose, as texts for the learner,
// and the interface by which the page asks the runner to break and mend it.
package lab

import "context"

// Fault is one way to break the telemetry. All but Name are sentences for the reader; docs/lab.md has
// them too, and the tests hold the demo to them.
type Fault struct {
	Name      string `json:"name"`      // of -break, such as "drop-header"
	Title     string `json:"title"`     // what is done
	Symptom   string `json:"symptom"`   // what is seen then
	Diagnosis string `json:"diagnosis"` // why it is seen
	Fix       string `json:"fix"`       // what one would do about it
}

// Switch breaks the telemetry of a running demo and mends it. Its methods may be called concurrently.
type Switch interface {
	// Active returns the name of the fault that is on, or "".
	Active() string
	// Set turns one fault on and any other off; an empty name mends everything. It returns when the
	// change has taken effect, or with an error that says what to do.
	Set(ctx context.Context, name string) error
}

// The faults' names.
const (
	DropHeader        = "drop-header"
	MalformedHeader   = "malformed-header"
	NotSampled        = "not-sampled"
	OtherFormat       = "other-format"
	DeadExporter      = "dead-exporter"
	NoServiceName     = "no-service-name"
	KilledBeforeFlush = "killed-before-flush"
)

// Named returns a fault by its name.
func Named(name string) (Fault, bool) {
	for _, f := range Faults() {
		if f.Name == name {
			return f, true
		}
	}
	return Fault{}, false
}

// Faults returns all faults, in the order in which to try them.
func Faults() []Fault {
	return []Fault{
		{
			Name:  DropHeader,
			Title: "The proxy drops the propagation header",
			Symptom: "One request makes two traces. The one that uservice3 names has 5 spans and starts at uservice3; the other has " +
				"the gateway's 2 spans and ends there. In the ledger no propagation header leaves the gateway, and uservice3 has NOT RECEIVED one.",
			Diagnosis: "The gateway is in a trace and sends no header of it, so uservice3 takes itself for the first and starts a trace of its own.",
			Fix: "Let the proxy pass uber-trace-id on. Look for a list of allowed headers, for a rule that strips unknown ones, and for a " +
				"proxy whose own tracing is off or speaks another format.",
		},
		{
			Name:  MalformedHeader,
			Title: "The proxy damages the propagation header",
			Symptom: "One request makes two traces, of 2 spans and of 5 spans, exactly as if the header were dropped. The ledger tells the " +
				"difference: a header arrived at uservice3, with %3A where its colons were, and is IGNORED MALFORMED.",
			Diagnosis: "Something on the way encodes the header as if it were part of a URL. A propagator does not guess: what it cannot read, it " +
				"treats as absent, without a word in the log.",
			Fix: "Compare the value that left with the one that arrived, find what rewrites headers in between, and have it keep the bytes as they are.",
		},
		{
			Name:  NotSampled,
			Title: "The proxy decides against sampling",
			Symptom: "All is answered, and no trace arrives: 0 spans. The service's page says \"not sampled\" and its traceresponse ends with 00. " +
				"In the ledger the trace is whole, from hop to hop CONTINUED, with the sampled flag 0.",
			Diagnosis: "The first in the chain decides, and the flag carries its decision. The gateway samples nothing, and the services follow it, as " +
				"they do with OTEL_TRACES_SAMPLER=parentbased_always_on. With always_on, which the demo sets otherwise, they would record " +
				"all the same, and the trace would lack its beginning.",
			Fix: "Raise the share that the proxy samples, in Traefik --tracing.samplerate. If some requests must be seen whatever their caller " +
				"decided, give that service a sampler that does not ask its parent.",
		},
		{
			Name:  OtherFormat,
			Title: "uservice4 speaks another propagation format",
			Symptom: "One request makes two traces: 5 spans that end at other_uservice_call, and 2 spans that start at uservice4. The event " +
				"\"Got response!\" of other_uservice_call names the second trace. In the ledger a valid uber-trace-id arrives at uservice4 and is IGNORED FORMAT.",
			Diagnosis: "uservice4 runs with OTEL_PROPAGATORS=tracecontext and looks for traceparent only; uservice3 sends uber-trace-id only.",
			Fix: "Agree on a format. On the way from one to the other let every service read and write both, OTEL_PROPAGATORS=tracecontext,jaeger; " +
				"docs/propagation.md has the steps.",
		},
		{
			Name:  DeadExporter,
			Title: "uservice3 exports to a port where nobody listens",
			Symptom: "The trace has a hole: 4 spans of 7, the gateway's and uservice4's, and those of uservice4 hang below a span that is not there. " +
				"The ledger is whole, CONTINUED at every hop. uservice3's log says \"telemetry does not reach the back end\".",
			Diagnosis: "Propagation works and export does not: they are two ways out of a process. uservice3's " +
				"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is wrong. Requests are answered as fast as ever, because export never stands in their way.",
			Fix: "Correct the endpoint, scheme and port included: http://<host>:4317 for OTLP over gRPC. Watch for the exporter's " +
				"complaint in every service's log; it is the only one who knows.",
		},
		{
			Name:  NoServiceName,
			Title: "uservice3 does not say its name",
			Symptom: "The trace is complete, with 7 spans, but three of them are by unknown_service:uservice3, with a colour of its own in the legend, " +
				"and a line of its own in the table of services. The ledger is whole. uservice3's log says \"traces will not name this service\", once, at its start.",
			Diagnosis: "OTEL_SERVICE_NAME is not set, and the SDK makes a name up from the program's. In the containers every program is called " +
				"service, so two such services could not be told apart.",
			Fix: "Set OTEL_SERVICE_NAME for every service. To find out who the unknown one is, look at its resource: process.pid, " +
				"process.executable.path, host.name.",
		},
		{
			Name:  KilledBeforeFlush,
			Title: "uservice4 is killed before it sends its spans",
			Symptom: "The answer is fine, and the trace has 5 spans of 7: below other_uservice_call, which was answered with 200 and a traceresponse, " +
				"there is nothing. The ledger is whole, CONTINUED at every hop. uservice4's log breaks off and begins anew.",
			Diagnosis: "uservice4 keeps its spans for 10 minutes before it sends a batch, OTEL_BSP_SCHEDULE_DELAY=600000, and is killed as soon as it " +
				"has answered. What was in its memory is lost. So it goes with every process that is killed, only with fewer spans.",
			Fix: "Stop processes with SIGTERM, let them flush on it as these do, and give them the time: a grace period longer than drain and " +
				"flush together. Keep the batches' delay short.",
		},
	}
}
