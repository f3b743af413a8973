package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"slices"
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

// mocks are the bounds of the services' mock calls.
type mocks struct{ redisMin, redisMax, databaseMin, databaseMax time.Duration }

// declareMocks declares their flags, with the services' own defaults.
func declareMocks(fs *flag.FlagSet) *mocks {
	var m mocks
	fs.DurationVar(&m.redisMin, "redis-min", 100*time.Millisecond,
		"shortest `time` of a mock Redis command in uservice1 and 3")
	fs.DurationVar(&m.redisMax, "redis-max", 199*time.Millisecond,
		"longest `time` of a mock Redis command in uservice1 and 3")
	fs.DurationVar(&m.databaseMin, "database-min", time.Second,
		"shortest `time` of a mock database query in uservice2 and 4")
	fs.DurationVar(&m.databaseMax, "database-max", 1999*time.Millisecond,
		"longest `time` of a mock database query in uservice2 and 4")
	return &m
}

// env checks the bounds and returns them as the services' variables.
func (m *mocks) env() (map[string]string, error) {
	for _, b := range []struct {
		name     string
		min, max time.Duration
	}{{"redis", m.redisMin, m.redisMax}, {"database", m.databaseMin, m.databaseMax}} {
		if b.min < 0 {
			return nil, misused("-%s-min=%s is negative", b.name, b.min)
		}
		if b.min > b.max {
			return nil, misused("-%[1]s-min=%[2]s is more than -%[1]s-max=%[3]s", b.name, b.min, b.max)
		}
	}
	return map[string]string{
		"REDIS_MIN": m.redisMin.String(), "REDIS_MAX": m.redisMax.String(),
		"DATABASE_MIN": m.databaseMin.String(), "DATABASE_MAX": m.databaseMax.String(),
	}, nil
}
