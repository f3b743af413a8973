package stack

import (
	"io"
	"log/slog"
	"net/http"
	"net/url"

	"example.com/grafana-tempo-go-demo/demo/lab"
)

// Options say what to run where. The zero value is the demo on default addresses, without a page.
type Options struct {
	// Bin is a folder into which services.Build has put the services; empty builds those of the
	// repository around the working folder into a temporary one.
	Bin string
	// Addrs has the addresses of parts by name; the others get the default of topology.Parts.
	Addrs map[string]Addr

	// Page makes the page that shows the traces; nil serves none.
	Page func(Page) http.Handler

	// Env is added to the environment of every service, such as REDIS_MIN=0s.
	Env map[string]string
	// Propagators say which formats a part reads and writes, by its name: gateway, or an
	// instrumented service's. The value is as of OTEL_PROPAGATORS; the default is jaeger.
	Propagators map[string]string
	// EBPF is the program of OpenTelemetry eBPF Instrumentation that watches the services which are not
	// instrumented; empty for none.
	EBPF string
	// LogLevel is the least level shown. The services log at info or below, whatever it is.
	LogLevel slog.Level
	// Break names the fault to start with, of lab.Faults, or none; lab.Random is one that nobody is
	// told. Stack.Faults changes it.
	Break string
	// Seed sets the order in which such faults come; 0 draws one.
	Seed uint64

	// Logs gets every line of every part in one write, prefixed by the part's name; nil drops them.
	// A terminal gets coloured prefixes and no control characters.
	Logs io.Writer
	// Messages gets the progress of the build, and which parts moved; nil drops it.
	Messages io.Writer
	// Observe is called with each line of a service's standard output, in that service's order;
	// services call it concurrently. It must not keep the slice.
	Observe func(service string, line []byte)
}

// Page is what a page that shows the traces has to work with.
type Page struct {
	Tempo   *url.URL     // of Tempo's HTTP API
	Gateway *url.URL     // the way to the services
	Ledger  http.Handler // answers ?trace=<id> with the hops of a request
	Faults  *lab.Lab
	Logger  *slog.Logger
}
