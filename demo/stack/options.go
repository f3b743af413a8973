package stack

import (
	"io"
	"log/slog"
)

// Options say what to run where.
type Options struct {
	// Bin is the folder that services.Build has made; empty builds one, which ends with the stack.
	Bin string
	// Addrs has the host:port of each part for which somebody asked for one; port 0 is any free one.
	// The others get the default of topology.Parts, or another port where that is taken.
	Addrs map[string]string

	// Env is added to the environment of every service, such as REDIS_MIN=0s.
	Env map[string]string
	// Propagators say which formats a part reads and writes, by its name: gateway, or an
	// instrumented service's. The value is as of OTEL_PROPAGATORS; the default is jaeger.
	Propagators map[string]string
	// LogLevel is the least level shown. The services log at info or below, whatever it is.
	LogLevel slog.Level
	// Break names the fault to start with, of lab.Faults, or none; lab.Random is one that nobody is
	// told. Stack.Faults changes it.
	Break string
	// Seed sets the order in which such faults come; 0 draws one.
	Seed uint64

	// Logs gets every line of every part in one write, prefixed by the part's name. A terminal gets
	// coloured prefixes and no control characters.
	Logs io.Writer
	// Messages gets the progress of the build, and which parts moved.
	Messages io.Writer
}
