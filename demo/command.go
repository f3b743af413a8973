package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"example.com/grafana-tempo-go-demo/demo/term"
)

// command is a subcommand: it declares its flags, checks what was given, and calls a package.
type command struct {
	name    string
	summary string // for `demo help`
	about   string // what -help begins with
	// declare declares the flags, and returns what to do when they have been parsed.
	declare func(*flag.FlagSet) action
}

// action is one run of a command. Its error is printed unless it is errPrinted; see also misused.
type action func(session) error

// session is what a command has of the world.
type session struct {
	ctx            context.Context // ends when the user wants the command to stop
	kill           context.Context // ends when the user does not want to wait for that
	stdin          io.Reader
	stdout, stderr io.Writer
	bin            string // where the services' programs are; empty builds them
}

// errPrinted is a failure that standard output has explained.
var errPrinted = errors.New("it has been printed")

// usageError is a mistake in the arguments.
type usageError struct{ error }

// misused says what is wrong with the arguments. A short usage is printed below it.
func misused(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// run returns the exit code: 0, also for help on request, 1 for a failure, 2 for wrong usage.
func (c command) run(s session, args []string) int {
	fs := flag.NewFlagSet("demo "+c.name, flag.ContinueOnError)
	var help strings.Builder // package flag prints it for a mistake too
	fs.SetOutput(&help)
	fs.Usage = func() {
		fmt.Fprintf(&help, "%s\n\nUsage: demo %s [flags]\n\n", c.about, c.name)
		fs.PrintDefaults()
	}
	act := c.declare(fs)
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		err = s.print(help.String())
	case err != nil:
		err = misused("%w", err)
	case fs.NArg() > 0:
		err = misused("unexpected argument %q: everything is set by flags", fs.Arg(0))
	default:
		err = act(s)
	}
	if wrong, ok := errors.AsType[usageError](err); ok {
		fmt.Fprintf(s.stderr, "%v\n\nUsage: demo %s [flags]\n`go run ./demo %s -help` lists the flags.\n", wrong, c.name, c.name)
		return 2
	}
	return s.exitCode(err)
}

// print writes what was asked for to standard output.
func (s session) print(text string) error {
	_, err := io.WriteString(s.stdout, text)
	return err
}

// exitCode prints an error that nobody has printed.
func (s session) exitCode(err error) int {
	if err == nil {
		return 0
	}
	if !errors.Is(err, errPrinted) {
		fmt.Fprintf(s.stderr, "demo: %v\n", err)
	}
	return 1
}

// put is for a flag whose value goes into a map.
func put(into map[string]string, key string) func(value string) error {
	return func(value string) error {
		into[key] = value
		return nil
	}
}

// choose is for a flag whose value is one of a few words.
func choose(into *string, words ...string) func(value string) error {
	return func(value string) error {
		if !slices.Contains(words, value) {
			return errors.New("want " + term.List(words))
		}
		*into = value
		return nil
	}
}
