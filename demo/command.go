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

// command is a subcommand. All have one form: declare their flags, check what was given, and call a
// package.
type command struct {
	name    string
	summary string // for `demo help`, which leaves out a command without one
	about   string // what -help begins with
	// declare declares the flags, and returns what to do when they have been parsed.
	declare func(*flag.FlagSet) action
}

// action is one run of a command. It ends with nil, with an error to be printed, with misused, or
// with errPrinted.
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

// misused says what is wrong with the arguments. The usage is printed below it.
func misused(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// run returns the exit code: 0, 1 for a failure, 2 for wrong usage. Asking for help is neither, so
// help goes to standard output.
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
		err = usageError{err}
	case fs.NArg() > 0:
		err = misused("unexpected argument %q: everything is set by flags", fs.Arg(0))
	default:
		err = act(s)
	}
	if wrong, ok := errors.AsType[usageError](err); ok {
		fs.SetOutput(s.stderr)
		fmt.Fprintln(s.stderr, wrong)
		fs.Usage()
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

// given reports which flags the user set.
func given(fs *flag.FlagSet) map[string]bool {
	set := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { set[f.Name] = true })
	return set
}

// choice declares a flag whose value is one of a few words.
func choice(fs *flag.FlagSet, name, preset, usage string, words ...string) *string {
	c := &choiceValue{preset, words}
	fs.Var(c, name, usage)
	return &c.value
}

type choiceValue struct {
	value string
	words []string
}

func (c *choiceValue) String() string { return c.value }

func (c *choiceValue) Set(s string) error {
	if !slices.Contains(c.words, s) {
		return fmt.Errorf("want %s", term.List(c.words))
	}
	c.value = s
	return nil
}

// logLevel declares -log-level.
func logLevel(fs *flag.FlagSet) *slog.Level {
	var level slog.Level
	fs.TextVar(&level, "log-level", slog.LevelInfo, "least `level` of the log lines shown: debug, info, warn or error")
	return &level
}

// declareMocks declares the flags for the bounds of the services' mock calls, with the services' own
// defaults. What it returns checks the bounds, and returns them as the services' variables.
func declareMocks(fs *flag.FlagSet) func() (map[string]string, error) {
	type bounds struct{ least, most *time.Duration }
	declare := func(name, what string, least, most time.Duration) bounds {
		return bounds{
			fs.Duration(name+"-min", least, "shortest `time` of a mock "+what),
			fs.Duration(name+"-max", most, "longest `time` of a mock "+what),
		}
	}
	mocks := map[string]bounds{
		"redis":    declare("redis", "Redis command in uservice1 and 3", 100*time.Millisecond, 199*time.Millisecond),
		"database": declare("database", "database query in uservice2 and 4", time.Second, 1999*time.Millisecond),
	}
	return func() (map[string]string, error) {
		env := map[string]string{}
		for name, b := range mocks {
			if *b.least < 0 {
				return nil, misused("-%s-min=%s is negative", name, *b.least)
			}
			if *b.least > *b.most {
				return nil, misused("-%[1]s-min=%[2]s is more than -%[1]s-max=%[3]s", name, *b.least, *b.most)
			}
			env[strings.ToUpper(name)+"_MIN"], env[strings.ToUpper(name)+"_MAX"] = b.least.String(), b.most.String()
		}
		return env, nil
	}
}
