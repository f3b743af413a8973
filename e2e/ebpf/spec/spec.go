// Package spec is what the tests of e2e/ebpf and their guest, in the virtual machine, tell each
// other.
package spec

const (
	File   = "/spec.json"    // in the machine
	Mark   = "@@RESULT "     // begins a line of the console that has a Result
	Failed = "@@FAILED "     // begins one that says why the guest gave up
	OBI    = "/opt/ebpf/obi" // where the machine has the program
)

// Container is a container of the eBPF instrumentation, as deploy/compose/ebpf.yaml has it.
type Container struct {
	Name    string
	Watches string            // the service whose process namespace it shares
	Service map[string]string // what the file adds to that service's environment
	Env     map[string]string // all of its own
	Rights  []string          // capabilities, such as SYS_ADMIN
	Memory  int64             // limit in bytes
}

// Run is all that the guest does: one start of the demo, with requests one after the other.
type Run struct {
	Name        string
	Kernel      string // its parameters, such as lockdown=integrity
	Propagators string // of the gateway
	// Containers watch the services, or where there are none OBI does without them, as of `demo up -ebpf`.
	Containers []Container
	Requests   []Request

	// What the doctor is to find, in place of requests.
	Doctor bool
	Hide   string // a folder that nobody can see into
	Kill   string // a service that ends before the doctor comes
}

// Request is what is asked for, through the gateway or, with headers, of the service itself.
type Request struct {
	Service, Query string
	Headers        map[string]string
}

// Result is what came of a request, or of a run if it names no request.
type Result struct {
	Run string
	Request
	Status      int
	Traces      []string          // described as golden traces are: the gateway's first; none of a request with headers
	Drawn       []string          // the same as the tour draws them
	Arrived     map[string]string // the propagation headers that arrived at each service, a line each
	Ledger      string            // as the hop ledger prints it
	Doctor      string            // what the doctor says, of a run; FirstBroken is the link that it names
	FirstBroken string
	Log         map[string]string // what each container logged, of a run
	Memory      map[string]string // what each container's control group counted, of a run
}
