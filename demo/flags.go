package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/lab"
	"example.com/grafana-tempo-go-demo/demo/stack"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// newFlags returns a flag set that reports mistakes as errUsage, with the command's usage.
func newFlags(name, about string, stderr io.Writer) *flag.FlagSet {
	fs := flag.NewFlagSet("demo "+name, flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprintf(fs.Output(), "%s\n\nUsage: demo %s [flags]\n\n", about, name)
		fs.PrintDefaults()
	}
	return fs
}

// parse reads the arguments. Asking for help is no mistake and goes to standard output.
func parse(fs *flag.FlagSet, args []string, stdout io.Writer) error {
	// The flag package prints its error and the usage itself, both to one writer; help is told apart beforehand.
	if slices.ContainsFunc(args, func(a string) bool { return a == "-h" || a == "-help" || a == "--help" }) {
		fs.SetOutput(stdout)
	}
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if fs.NArg() > 0 {
		return misused(fs, "unexpected argument %q: everything is set by flags", fs.Arg(0))
	}
	return nil
}

// misused prints what is wrong with the call, and the usage.
func misused(fs *flag.FlagSet, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	fmt.Fprintln(fs.Output(), err)
	fs.Usage()
	return fmt.Errorf("%w: %w", errUsage, err)
}

// given returns the names of the flags that the caller set.
func given(fs *flag.FlagSet) map[string]bool {
	set := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { set[f.Name] = true })
	return set
}

// mocks are the bounds of the services' mock calls.
type mocks struct{ redisMin, redisMax, databaseMin, databaseMax time.Duration }

func (m *mocks) register(fs *flag.FlagSet) {
	// The services' own defaults, and their variables' names in env.
	fs.DurationVar(&m.redisMin, "redis-min", 100*time.Millisecond, "shortest `time` of a mock Redis command in uservice1 and 3")
	fs.DurationVar(&m.redisMax, "redis-max", 199*time.Millisecond, "longest `time` of a mock Redis command in uservice1 and 3")
	fs.DurationVar(&m.databaseMin, "database-min", time.Second, "shortest `time` of a mock database query in uservice2 and 4")
	fs.DurationVar(&m.databaseMax, "database-max", 1999*time.Millisecond, "longest `time` of a mock database query in uservice2 and 4")
}

// env checks the bounds and returns them as the services' variables.
func (m *mocks) env(fs *flag.FlagSet) (map[string]string, error) {
	for _, b := range []struct {
		name     string
		min, max time.Duration
	}{{"redis", m.redisMin, m.redisMax}, {"database", m.databaseMin, m.databaseMax}} {
		if b.min < 0 {
			return nil, misused(fs, "-%s-min=%s is negative", b.name, b.min)
		}
		if b.min > b.max {
			return nil, misused(fs, "-%[1]s-min=%[2]s is more than -%[1]s-max=%[3]s", b.name, b.min, b.max)
		}
	}
	return map[string]string{
		"REDIS_MIN": m.redisMin.String(), "REDIS_MAX": m.redisMax.String(),
		"DATABASE_MIN": m.databaseMin.String(), "DATABASE_MAX": m.databaseMax.String(),
	}, nil
}

// upConfig is what the flags of `up` set.
type upConfig struct {
	json     bool
	logLevel slog.Level
	broken   oneOf // a fault's name
	formats  byPart
	addrs    map[string]*string // by part
	mocks
}

// upFlags declares the flags of `up`; -help and any other table of them come from here.
func upFlags(c *upConfig, stderr io.Writer) *flag.FlagSet {
	fs := newFlags("up", "Starts everything, prints every address, and runs until Ctrl-C; a second Ctrl-C kills at once.\n"+
		"An address whose port is taken moves to a free one, unless it was given: then it is an error.", stderr)
	c.addrs = map[string]*string{}
	for _, p := range topology.Parts() {
		c.addrs[p.Name] = fs.String(p.Name+"-addr", p.Addr, "`host:port` of "+p.About)
	}
	fs.BoolVar(&c.json, "json", false, "when all is ready, print the addresses as one line of JSON; logs go to standard error")
	fs.TextVar(&c.logLevel, "log-level", slog.LevelInfo, "least `level` of the log lines shown: debug, info, warn or error")
	for _, f := range lab.Faults() {
		c.broken.words = append(c.broken.words, f.Name)
	}
	fs.Var(&c.broken, "break", "break the telemetry on purpose, by a `fault` of the list below")
	fs.Var(&c.formats, "propagators", "`part=list` of the formats that a part reads and writes, such as uservice4=tracecontext,jaeger, where the\n"+
		"others have jaeger; parts are gateway, uservice3 and uservice4; the flag may be given for each")
	c.mocks.register(fs)
	usage := fs.Usage
	fs.Usage = func() {
		usage()
		fmt.Fprint(fs.Output(), "\nFaults for -break; docs/lab.md has them as exercises, and the page can change them at run time:\n")
		for _, f := range lab.Faults() {
			fmt.Fprintf(fs.Output(), "  %-20s %s\n", f.Name, f.Title)
		}
	}
	return fs
}

// options turns flags into what the stack wants.
func (c *upConfig) options(fs *flag.FlagSet) (stack.Options, error) {
	env, err := c.env(fs)
	if err != nil {
		return stack.Options{}, err
	}
	set := given(fs)
	addrs := map[string]stack.Addr{}
	for _, name := range slices.Sorted(maps.Keys(c.addrs)) {
		if err := stack.CheckAddr(*c.addrs[name]); err != nil {
			return stack.Options{}, misused(fs, "-%s-addr: %w", name, err)
		}
		addrs[name] = stack.Addr{Value: *c.addrs[name], Asked: set[name+"-addr"]}
	}
	return stack.Options{
		Addrs:       addrs,
		Page:        page,
		Env:         env,
		LogLevel:    c.logLevel,
		Break:       c.broken.value,
		Propagators: c.formats,
	}, nil
}

// oneOf is a flag whose value is one of a few words.
type oneOf struct {
	value string
	words []string
}

func (o *oneOf) String() string { return o.value }

func (o *oneOf) Set(s string) error {
	if !slices.Contains(o.words, s) {
		return fmt.Errorf("want %s", inWords(o.words))
	}
	o.value = s
	return nil
}

// byPart is a flag that is given once for each part, as part=value.
type byPart map[string]string

func (b *byPart) String() string { return "" }

func (b *byPart) Set(s string) error {
	part, value, ok := strings.Cut(s, "=")
	if !ok || part == "" || value == "" {
		return errors.New("want part=list, such as uservice4=tracecontext,jaeger")
	}
	if *b == nil {
		*b = byPart{}
	}
	(*b)[part] = value
	return nil
}

// inWords lists words as a sentence does.
func inWords(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
