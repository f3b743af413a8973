// Package compare measures what instrumentation costs on the reader's own machine. It puts the
// plain pair of services and the instrumented pair under the same load in turn, and sets the
// figures side by side, as ratios with their spread, next to what each pair can answer. It serves
// `demo compare`.
//
// Every round starts fresh processes, so that what the system says of an ended process is what the
// round took. The load generator and the receiver of the spans run in this process, and so are not
// in the services' processor time. But all share the machine, and so requests per second and
// latencies depend on them too.
package compare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"time"

	"example.com/grafana-tempo-go-demo/demo/process"
	"example.com/grafana-tempo-go-demo/demo/services"
	"example.com/grafana-tempo-go-demo/demo/term"
)

// Options say what to measure. Counts and durations must be greater than zero.
type Options struct {
	// Rounds is how often each pair is measured under each load.
	Rounds int
	// Duration is that of one pair in one round. With the mocks as they are it is at least 4 s.
	Duration time.Duration
	// Messages gets the progress.
	Messages io.Writer
}

var pairs = [2]string{"plain", "instrumented"}

var noWait = map[string]string{"REDIS_MIN": "0s", "REDIS_MAX": "0s", "DATABASE_MIN": "0s", "DATABASE_MAX": "0s"}

// comparison is one call of Run.
type comparison struct {
	Options
	loads    []load
	program  func(service string) process.Options // how to run it
	hard     context.Context                      // when it ends, processes that have not stopped are killed
	sink     sink
	endpoint string // its URL
}

// Run builds the services and compares the pairs until ctx ends, with its cause as the error. When
// hard ends, it kills processes that still stop. It leaves neither a process nor a file behind.
func Run(ctx, hard context.Context, o Options) (_ *Report, err error) {
	bin, err := services.Build(ctx, o.Messages)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, services.RemoveAll(bin)) }()
	c := &comparison{
		Options: o, hard: hard,
		loads: []load{
			{name: "mocks at zero", env: noWait, connections: 16, duration: o.Duration},
			// A request takes 1.1 to 2.2 s, so that each visitor mostly waits.
			{name: "mocks as they are", connections: 500, duration: max(o.Duration, 4*time.Second)},
		},
		program: func(service string) process.Options {
			return process.Options{Path: filepath.Join(bin, service)}
		},
	}
	return c.measure(ctx)
}

// measure compares the pairs under each load, less what it takes to start them, to answer one request
// and to stop them.
func (c *comparison) measure(ctx context.Context) (*Report, error) {
	report := &Report{
		Machine: fmt.Sprintf("%d processors, %s/%s, %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version()),
		Rounds:  c.Rounds,
	}
	endpoint, stop, err := c.sink.serve()
	if err != nil {
		return nil, err
	}
	defer stop()
	c.endpoint = endpoint
	idle, err := c.inTurn(ctx, load{name: "one request", env: noWait, connections: 1, requests: 1}, 1)
	if err != nil {
		return nil, err
	}
	if plain, instrumented := idle[0][0].spans, idle[1][0].spans; plain != 0 || instrumented == 0 {
		return nil, fmt.Errorf("one request made %d spans in the plain pair and %d in the instrumented one: "+
			"there is nothing to compare", plain, instrumented)
	}
	for _, l := range c.loads {
		rounds, err := c.inTurn(ctx, l, c.Rounds)
		if err != nil {
			return nil, err
		}
		for i, pair := range pairs {
			for n, m := range rounds[i] {
				m.cpu = max(0, m.cpu-idle[i][0].cpu)
				where := fmt.Sprintf("%s, round %d, %s pair: ", l.name, n+1, pair)
				if m.Success < 1 { // a request that failed has fewer spans, or more
					report.Notes = append(report.Notes, where+m.failures())
				} else if sent := idle[i][0].spans * int64(m.Requests); m.spans < sent {
					report.Notes = append(report.Notes, fmt.Sprintf("%s%d of %d spans were lost: there were more than could be sent.",
						where, sent-m.spans, sent))
				}
			}
		}
		report.add(l.name+", "+term.Count(l.connections, "connection"), underLoad, rounds)
	}
	report.add("without load", still, idle)
	return report, nil
}

// inTurn applies a load to both pairs in turn, so many times, and returns what each round gave. Rounds
// begin with the other pair each time, so that a machine that gets slower or faster does so to both.
func (c *comparison) inTurn(ctx context.Context, l load, times int) (rounds [2][]*measured, err error) {
	for n := range times {
		for _, i := range [2]int{n % 2, 1 - n%2} {
			fmt.Fprintf(c.Messages, "%s, round %d of %d, %s pair\n", l.name, n+1, times, pairs[i])
			m, err := c.round(ctx, i == 1, l)
			if err != nil {
				return rounds, err
			}
			if m.Success == 0 {
				return rounds, fmt.Errorf("%s, %s pair: %s", l.name, pairs[i], m.failures())
			}
			rounds[i] = append(rounds[i], m)
		}
	}
	return rounds, nil
}
