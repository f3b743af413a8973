package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

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
	fs.Usage = func() {
		fmt.Fprintf(fs.Output(), "%s\n\nUsage: demo %s [flags]\n\n", c.about, c.name)
		fs.PrintDefaults()
	}
	act := c.declare(fs)
	fs.SetOutput(io.Discard) // Parse prints what is printed below
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fs.SetOutput(s.stdout)
		fs.Usage()
		return 0
	case err != nil:
		flagged, _ := strings.CutPrefix(err.Error(), undefined)
		err = misused("%w%s", err, didYouMean(flagged, flagNames(fs)))
	case fs.NArg() > 0:
		err = misused("unexpected argument %q: everything is set by flags%s", fs.Arg(0), didYouMean("-"+fs.Arg(0), flagNames(fs)))
	default:
		err = act(s)
	}
	if wrong, ok := errors.AsType[usageError](err); ok {
		fmt.Fprintf(s.stderr, "%v\n\nUsage: demo %s [flags]\n`go run ./demo %s -help` lists the flags.\n", wrong, c.name, c.name)
		return 2
	}
	if err == nil {
		return 0
	}
	if !errors.Is(err, errPrinted) {
		fmt.Fprintf(s.stderr, "demo: %v\n", err)
	}
	return 1
}

// given returns what the user set, by the flag's name.
func given(fs *flag.FlagSet) map[string]string {
	set := map[string]string{}
	fs.Visit(func(f *flag.Flag) { set[f.Name] = f.Value.String() })
	return set
}

// choice declares a flag whose value is one of a few words, or else empty.
func choice(fs *flag.FlagSet, name, usage string, words ...string) *string {
	var value string
	fs.Func(name, usage, func(s string) error {
		if !slices.Contains(words, s) {
			return fmt.Errorf("want %s%s", term.List(words), didYouMean(s, words))
		}
		value = s
		return nil
	})
	return &value
}

// logLevel declares -log-level.
func logLevel(fs *flag.FlagSet) *slog.Level {
	var level slog.Level // info
	fs.Func("log-level", "least `level` of the log lines shown: debug, info, warn or error (default INFO)", func(s string) error {
		if level.UnmarshalText([]byte(s)) != nil {
			words := []string{"debug", "info", "warn", "error"}
			return fmt.Errorf("want %s%s", term.List(words), didYouMean(s, words))
		}
		return nil
	})
	return &level
}

// declareMocks declares the flags for the bounds of the services' mock calls, with the services' own
// defaults. What it returns checks the bounds, and returns them as the services' variables.
func declareMocks(fs *flag.FlagSet) func() (map[string]string, error) {
	mocks := []*struct {
		name, about string
		least, most time.Duration
	}{
		{"redis", "Redis command in uservice1 and 3", 100 * time.Millisecond, 199 * time.Millisecond},
		{"database", "database query in uservice2 and 4", time.Second, 1999 * time.Millisecond},
	}
	for _, m := range mocks {
		fs.DurationVar(&m.least, m.name+"-min", m.least, "shortest `time` of a mock "+m.about)
		fs.DurationVar(&m.most, m.name+"-max", m.most, "longest `time` of a mock "+m.about)
	}
	return func() (map[string]string, error) {
		env := map[string]string{}
		for _, m := range mocks {
			if m.least < 0 {
				return nil, misused("-%s-min=%s is negative", m.name, m.least)
			}
			if m.least > m.most {
				return nil, misused("-%[1]s-min=%[2]s is more than -%[1]s-max=%[3]s", m.name, m.least, m.most)
			}
			variable := strings.ToUpper(m.name)
			env[variable+"_MIN"], env[variable+"_MAX"] = m.least.String(), m.most.String()
		}
		return env, nil
	}
}
