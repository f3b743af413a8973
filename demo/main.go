// Command demo runs the whole demo without Docker: the four services as processes built from the same source as the
// containers, a gateway where compose has Traefik, a collector that speaks Tempo's API, and a page that shows it all.
//
//	go run ./demo              the same as `go run ./demo up`
//	go run ./demo up           starts everything, prints every address, runs until Ctrl-C
//	go run ./demo tour         does the whole story once in the terminal and exits
//	go run ./demo ledger       tells from a log on standard input which way the propagation header went
//	go run ./demo explorer     serves the page alone, for a Tempo and a proxy that run already
//	go run ./demo doctor       follows one request through a running stack, and names the first link that is broken
//	go run ./demo compare      measures what instrumentation costs
//	go run ./demo help
//
// Each command explains its flags with -help. Exit codes: 0 all went well, 1 something failed, 2 wrong usage.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"example.com/grafana-tempo-go-demo/demo/process"
)

func main() {
	// What the user's shell says to programs that send telemetry is not meant for the gateway in this process: the SDK
	// would read it, and send its spans elsewhere or not at all.
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(strings.ToUpper(name), "OTEL_") {
			_ = os.Unsetenv(name)
		}
	}
	soft, hard := signals()
	os.Exit(run(soft, hard, os.Args[1:], os.Stdout, os.Stderr))
}

// command is a subcommand. Its run gets a context that ends when the user wants it to stop, and a second one that ends
// when the user is out of patience.
type command struct {
	name, about string
	run         func(soft, hard context.Context, args []string, stdout, stderr io.Writer) error
}

func commands() []command {
	return []command{
		{"up", "start everything, print every address, run until Ctrl-C (the default)", runUp},
		{"tour", "do the whole story once in the terminal and exit", runTour},
		{"ledger", "tell from a log which way the propagation header went: docker compose logs | demo ledger", runLedger},
		{"explorer", "serve the page alone, for a Tempo and a proxy that run already", runExplorer},
		{"doctor", "follow one request through a running stack, and name the first link that is broken", runDoctor},
		{"compare", "measure on this machine what instrumentation costs, beside what it buys", runCompare},
	}
}

// errUsage marks an error in how the program was called; its text has been printed.
var errUsage = errors.New("usage")

// run is the program; it returns the exit code.
func run(soft, hard context.Context, args []string, stdout, stderr io.Writer) int {
	name := "up"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	} else if len(args) > 0 && (args[0] == "-h" || args[0] == "-help" || args[0] == "--help") {
		name = "help"
	}
	if name == "help" {
		usage(stdout)
		return 0
	}
	for _, c := range commands() {
		if c.name != name {
			continue
		}
		err := c.run(soft, hard, args, stdout, stderr)
		switch {
		case err == nil, errors.Is(err, flag.ErrHelp):
			return 0
		case errors.Is(err, errUsage):
			return 2
		case errors.Is(err, errExamined):
			return 1
		default:
			fmt.Fprintf(stderr, "demo: %v\n", err)
			return 1
		}
	}
	fmt.Fprintf(stderr, "demo: there is no command %q\n\n", name)
	usage(stderr)
	return 2
}

func usage(w io.Writer) {
	fmt.Fprint(w, "The whole demo without Docker.\n\nUsage: demo [command] [flags]\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-9s %s\n", c.name, c.about)
	}
	fmt.Fprint(w, "\nEach command explains its flags with -help.\n")
}

// signals returns a context that ends at the first Ctrl-C or SIGTERM, or when the parent process is gone (the go command
// that was told to end does not tell what it runs), and one that ends at the second signal.
func signals() (soft, hard context.Context) {
	soft, cancelSoft := context.WithCancelCause(context.Background())
	hard, cancelHard := context.WithCancelCause(context.Background())
	ch := make(chan os.Signal, 2)
	signal.Notify(ch, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		signal.Notify(ch, syscall.SIGHUP)
	}
	// A closed pipe behind standard output would end this process at its next line, and leave the children. As an error
	// of that write it does no harm.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	gone := process.ParentGone(soft.Done())
	go func() {
		select {
		case <-ch:
			cancelSoft(errInterrupted)
		case <-gone:
			cancelSoft(errors.New("the process that started this one is gone"))
		}
		<-ch
		cancelHard(errors.New("asked to stop at once"))
	}()
	return soft, hard
}

var errInterrupted = errors.New("interrupted")
