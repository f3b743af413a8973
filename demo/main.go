// Command demo runs the whole demo without Docker: the four services as processes built from the
// same source as the containers, a gateway where compose has Traefik, a collector that speaks
// Tempo's API, and a page that shows it all.
//
//	go run ./demo       starts everything, prints every address, runs until Ctrl-C
//	go run ./demo help  lists the other commands
//
// Exit codes: 0 all went well, 1 something failed, 2 wrong usage.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"example.com/grafana-tempo-go-demo/demo/process"
)

// commands are in cmd_*.go, one each.
var commands = []command{upCommand, tourCommand, ledgerCommand, explorerCommand, doctorCommand, compareCommand}

func main() { os.Exit(start("")) }

// start runs the program in this process's surroundings.
func start(bin string) int {
	// The shell's settings for programs that send telemetry are not meant for the gateway in this
	// process: the SDK would read them, and send its spans elsewhere or not at all. Which headers the
	// demo speaks is the user's to say: see up.
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if upper := strings.ToUpper(name); strings.HasPrefix(upper, "OTEL_") && upper != propagatorsVariable {
			_ = os.Unsetenv(name)
			fmt.Fprintf(os.Stderr, "demo: %s is not used, because the demo sets its own\n", name)
		}
	}
	ctx, kill := signals()
	context.AfterFunc(kill, func() {
		time.Sleep(killTime)
		os.Exit(1)
	})
	return run(session{ctx, kill, os.Stdin, os.Stdout, os.Stderr, bin}, os.Args[1:])
}

// killTime is for what a second Ctrl-C kills to end, and for its files to go.
const killTime = time.Second

// run is the program; it returns the exit code.
func run(s session, args []string) int {
	name := "up"
	switch {
	case len(args) == 0:
	case slices.Contains([]string{"help", "-h", "-help", "--help"}, args[0]):
		return s.exitCode(s.print(usage()))
	case !strings.HasPrefix(args[0], "-"):
		name, args = args[0], args[1:]
	}
	var names []string
	for _, c := range commands {
		if c.name == name {
			return c.run(s, args)
		}
		names = append(names, c.name)
	}
	fmt.Fprintf(s.stderr, "demo: there is no command %q\n\nUsage: demo [command] [flags]\n", name)
	fmt.Fprintf(s.stderr, "`go run ./demo help` explains the commands: %s.\n", strings.Join(names, ", "))
	return 2
}

func usage() string {
	text := "The whole demo without Docker.\n\nUsage: demo [command] [flags]\n\n"
	for _, c := range commands {
		text += fmt.Sprintf("  %-9s %s\n", c.name, c.summary)
	}
	return text + "\nEach command explains its flags with -help.\n"
}

// ends are what stops the program: signals, and the end of its parent. Under nohup it outlives its shell.
func ends() (signals []os.Signal, parentGone <-chan struct{}) {
	signals = []os.Signal{os.Interrupt, syscall.SIGTERM}
	if signal.Ignored(syscall.SIGHUP) {
		return signals, nil
	}
	return append(signals, syscall.SIGHUP), process.ParentGone()
}

// signals returns a context that ends at the first Ctrl-C or SIGTERM, or when the parent process is
// gone (SIGTERM ends the go command, and not what it runs), and one that ends at the second signal.
func signals() (ctx, kill context.Context) {
	ctx, stop := context.WithCancelCause(context.Background())
	kill, stopAtOnce := context.WithCancelCause(context.Background())
	ch := make(chan os.Signal, 2)
	ends, parentGone := ends()
	signal.Notify(ch, ends...)
	// A closed pipe behind standard output would end this process at its next line, and leave the
	// children. As an error of that write it does no harm.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	go func() {
		select {
		case <-ch:
			stop(errors.New("interrupted"))
		case <-parentGone:
			stop(errors.New("the process that started this one is gone"))
		}
		<-ch
		stopAtOnce(errors.New("asked to stop at once"))
	}()
	return ctx, kill
}
