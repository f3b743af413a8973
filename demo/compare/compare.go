// Package compare measures what instrumentation costs on the reader's own machine. It puts the
// plain pair of services and the instrumented pair under the same load in turn, and sets the
// figures side by side, as ratios with their spread, next to what each pair can answer. It serves
// `demo compare`.
//
// Every round starts fresh processes, so that what the system says of an ended process is what the
// round took. The instrumented pair sends its spans to a process that only counts them. Neither
// that process nor the load generator, which runs in this one, is in the services' processor time.
// But all share the machine, and so requests per second and latencies depend on them too.
package compare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"time"

	"example.com/grafana-tempo-go-demo/demo/process"
	"example.com/grafana-tempo-go-demo/demo/services"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// minMocked is the least duration of a round with the mocks as they are, where a request takes 1.1 to
// 2.2 s.
const minMocked = 4 * time.Second

// Options say what to measure. Counts and durations must be greater than zero.
type Options struct {
	// Rounds is how often each pair is measured under each load.
	Rounds int
	// Duration is that of one pair in one round. With the mocks as they are it is at least 4 s.
	Duration time.Duration
	// Concurrency is the number of connections with the mocks at zero.
	Concurrency int
	// Visitors is the number of connections with the mocks as they are, where each mostly waits.
	Visitors int
	// Messages gets the progress.
	Messages io.Writer
}

// pair is two services, the one that is called first.
type pair struct {
	name     string
	services []topology.Service
}

var pairs = [2]pair{{"plain", pick(false)}, {"instrumented", pick(true)}}

func pick(instrumented bool) []topology.Service {
	return slices.DeleteFunc(topology.Services(), func(s topology.Service) bool { return s.Instrumented != instrumented })
}

// comparison is one call of Run.
type comparison struct {
	Options
	program   func(name string) process.Options // how to run a service, or the sink by its name
	minMocked time.Duration
	hard      context.Context // when it ends, processes that have not stopped are killed

	idle   [2]*measured // what a pair takes that answers one request
	report Report
}

// Run builds the services and compares the pairs until ctx ends, with its cause as the error. When
// hard ends, it kills processes that still stop. It leaves neither a process nor a file behind.
func Run(ctx, hard context.Context, o Options) (_ *Report, err error) {
	bin, err := services.Build(ctx, o.Messages)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, services.RemoveAll(bin)) }()
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program, to start it again: %w", err)
	}
	c := &comparison{Options: o, minMocked: minMocked, hard: hard,
		program: func(name string) process.Options {
			if name == sinkName {
				return process.Options{Path: self, Args: []string{SinkCommand}}
			}
			return process.Options{Path: services.Program(bin, name)}
		}}
	return &c.report, c.measure(ctx)
}

// measure fills the report.
func (c *comparison) measure(ctx context.Context) error {
	c.report = Report{
		Machine: fmt.Sprintf("%d processors, %s/%s, %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version()),
		Rounds:  c.Rounds,
		Notes:   []string{},
	}
	noWait := map[string]string{"REDIS_MIN": "0s", "REDIS_MAX": "0s", "DATABASE_MIN": "0s", "DATABASE_MAX": "0s"}
	if err := c.measureIdle(ctx, load{env: noWait, connections: 1, requests: 1, duration: maxLatency}); err != nil {
		return err
	}
	for _, l := range []load{
		{name: "mocks at zero", connections: c.Concurrency, duration: c.Duration, env: noWait},
		{name: "mocks as they are", connections: c.Visitors, duration: max(c.Duration, c.minMocked)},
	} {
		if err := c.measureLoad(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

func (c *comparison) say(format string, args ...any) { fmt.Fprintf(c.Messages, format+"\n", args...) }

func (c *comparison) note(format string, args ...any) {
	c.report.Notes = append(c.report.Notes, fmt.Sprintf(format, args...))
}

// measureIdle learns what it takes to start and stop each pair, which is no cost of a request.
func (c *comparison) measureIdle(ctx context.Context, once load) error {
	for i, p := range pairs {
		c.say("starting and stopping the %s pair", p.name)
		run, err := c.round(ctx, p, once)
		if err != nil {
			return err
		}
		c.idle[i] = run
	}
	plain, instrumented := c.idle[0], c.idle[1]
	if plain.spans != 0 || instrumented.spans == 0 {
		return fmt.Errorf("one request made %d spans in the plain pair and %d in the instrumented one: "+
			"there is nothing to compare", plain.spans, instrumented.spans)
	}
	if plain.peak == 0 {
		c.note("Memory is left out: it is not measured on %s.", runtime.GOOS)
	}
	c.report.Still = setSideBySide(still, c.idle[:1], c.idle[1:])
	return nil
}

// measureLoad applies a load to both pairs in turn. Rounds begin with the other pair each time, so
// that a machine that gets slower or faster does so to both.
func (c *comparison) measureLoad(ctx context.Context, l load) error {
	var rounds [2][]*measured
	for n := range c.Rounds {
		for _, i := range [2]int{n % 2, 1 - n%2} {
			name, idle := pairs[i].name, c.idle[i]
			c.say("%s, round %d of %d, %s pair", l.name, n+1, c.Rounds, name)
			run, err := c.round(ctx, pairs[i], l)
			if err != nil {
				return err
			}
			if run.Requests == 0 {
				return fmt.Errorf("%s: the %s pair answered no request: %s", l.name, name, describeErrors(run.failed))
			}
			run.cpu = max(0, run.cpu-idle.cpu)
			lost := idle.spans*int64(run.Requests) - run.spans
			if len(run.failed) > 0 { // a request that failed has fewer spans, or more
				c.note("%s, round %d: of the %s pair's requests, %s.", l.name, n+1, name, describeErrors(run.failed))
			} else if lost > 0 {
				c.note("%s, round %d: %d of %d spans were lost: there were more than could be sent.",
					l.name, n+1, lost, lost+run.spans)
			}
			rounds[i] = append(rounds[i], run)
		}
	}
	c.report.Loads = append(c.report.Loads, Load{Name: l.name, Connections: l.connections,
		Metrics: setSideBySide(underLoad, rounds[0], rounds[1])})
	return nil
}
