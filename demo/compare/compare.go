// Package compare measures what instrumentation costs on the reader's own machine: it puts the plain pair of services
// and the instrumented one under the same load in turn, and sets the figures side by side, as ratios with their spread,
// next to what each pair can answer. It serves `demo compare`.
//
// Every round starts fresh processes, so that what the system says of an ended process is what the round took. The
// instrumented pair sends its spans to a process of its own that counts them and does nothing else; neither that nor the
// load generator, which runs in this process, is in the services' processor time. All of them share the machine, though,
// so requests per second and latencies are those of a machine that does all of it.
package compare

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"example.com/grafana-tempo-go-demo/demo/services"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

const (
	// minMocked is the least duration of a round with the mocks as they are: a request takes 1.1 to 2.2 s there.
	minMocked = 4 * time.Second
	// idleRuns is how often a pair is started and stopped for one request only, to learn what that takes.
	idleRuns = 2
)

// Options say what to measure. Counts and durations must be greater than zero.
type Options struct {
	// Root is the repository; empty means that it is looked for from the working folder.
	Root string
	// Rounds is how often each pair is measured under each load.
	Rounds int
	// Duration is that of one pair in one round, after a warm-up of a fifth of it. With the mocks as they are it is 4 s at
	// least, and there is no warm-up.
	Duration time.Duration
	// Concurrency is the number of connections with the mocks at zero.
	Concurrency int
	// Visitors is the number of connections with the mocks as they are, where each waits for most of the time.
	Visitors int
	// Requests is how many requests of each service allocations are counted over.
	Requests int
	// Sink is a command that runs ServeSink until it is told to end.
	Sink []string
	// Messages gets the progress; nil drops it. Live tells that it is a terminal, where a line may be rewritten.
	Messages io.Writer
	Live     bool
}

// pair is two services, of which the first calls the second.
type pair struct {
	name           string
	caller, callee topology.Service
}

// pairs returns the plain pair and the instrumented one.
func pairs() (found [2]pair) {
	byName := map[string]topology.Service{}
	for _, s := range topology.Services() {
		byName[s.Name] = s
	}
	for _, s := range byName {
		if s.Upstream == "" {
			continue
		}
		if s.Instrumented {
			found[1] = pair{"instrumented", s, byName[s.Upstream]}
		} else {
			found[0] = pair{"plain", s, byName[s.Upstream]}
		}
	}
	return found
}

func (p pair) services() []topology.Service { return []topology.Service{p.caller, p.callee} }

// comparison is one call of Run.
type comparison struct {
	Options
	progress *progress
	pairs    [2]pair
	// command returns what runs a service, and sink what runs ServeSink; variables that are set are kept.
	command func(name string) *exec.Cmd
	sink    func() *exec.Cmd
	// minMocked is the least duration with the mocks as they are.
	minMocked time.Duration
	hard      context.Context // ends when whoever waits for the end of processes has no patience left

	report Report
	idle   [2]idle
}

// idle is what a pair takes that serves one request only.
type idle struct {
	usage
	spans int64 // how many it sent of that request
}

// Run builds the services and compares the pairs. It stops early when ctx ends, with its cause as the error; processes
// that take too long to stop then are killed when hard ends. Nothing is left behind, neither process nor file.
func Run(ctx, hard context.Context, o Options) (_ *Report, err error) {
	// Linux ends a child when the thread that started it does. This one lives until all are gone.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	if o.Messages == nil {
		o.Messages = io.Discard
	}
	if o.Root == "" {
		if o.Root, err = services.FindRoot("."); err != nil {
			return nil, err
		}
	}
	// By this name, package stack finds and removes what a run that was killed has left.
	bin, err := os.MkdirTemp("", "grafana-tempo-go-demo-"+strconv.Itoa(os.Getpid())+"-")
	if err != nil {
		return nil, fmt.Errorf("temporary folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(bin)) }()
	if err := services.Build(ctx, o.Root, bin, o.Messages); err != nil {
		return nil, err
	}
	c := &comparison{
		Options: o, pairs: pairs(), hard: hard, minMocked: minMocked,
		command: func(name string) *exec.Cmd { return exec.Command(binary(bin, name)) },
		sink:    func() *exec.Cmd { return exec.Command(o.Sink[0], o.Sink[1:]...) },
	}
	if err := c.measure(ctx, func(ctx context.Context) error {
		if err := c.measureFiles(bin); err != nil {
			return err
		}
		return c.measureAllocations(ctx)
	}); err != nil {
		return nil, err
	}
	return &c.report, nil
}

// binary is the path of a built service.
func binary(dir, name string) string {
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return filepath.Join(dir, name)
}

// measure fills the report; still adds what does not depend on load.
func (c *comparison) measure(ctx context.Context, still func(context.Context) error) error {
	c.report = Report{
		Machine: Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Go: runtime.Version()},
		Rounds:  c.Rounds,
		Answers: answers,
		Notes:   []string{},
	}
	loads := []plannedLoad{
		{"mocks at zero", c.Concurrency, c.Duration / 5, c.Duration, map[string]string{
			"REDIS_MIN": "0s", "REDIS_MAX": "0s", "DATABASE_MIN": "0s", "DATABASE_MAX": "0s"}},
		{"mocks as they are", c.Visitors, 0, max(c.Duration, c.minMocked), nil},
	}
	c.progress = newProgress(c.Messages, c.Live, c.plan(loads))
	defer c.progress.end()

	for i, p := range c.pairs {
		for n := range idleRuns {
			c.progress.step(fmt.Sprintf("starting and stopping the %s pair", p.name), idleStep)
			once := load{connections: 1, requests: 1, duration: maxLatency}
			run, err := c.round(ctx, p, loads[0].env, once)
			if err != nil {
				return err
			}
			if n == 0 || run.cpu < c.idle[i].cpu {
				c.idle[i] = idle{usage: run.usage, spans: run.spans}
			}
		}
	}
	if c.idle[0].spans != 0 || c.idle[1].spans == 0 {
		return fmt.Errorf("one request made %d spans in the plain pair and %d in the instrumented one: there is nothing to compare", c.idle[0].spans, c.idle[1].spans)
	}
	if plain, instrumented := float64(c.idle[0].peak), float64(c.idle[1].peak); plain > 0 && instrumented > 0 {
		c.still("memory after one request", "bytes", plain, instrumented)
	} else {
		c.note("Memory is left out: it is not measured on " + runtime.GOOS + ".")
	}
	for _, l := range loads {
		if err := c.measureLoad(ctx, l); err != nil {
			return err
		}
	}
	return still(ctx)
}

// plannedLoad is a load before it is applied.
type plannedLoad struct {
	name             string
	connections      int
	warmUp, duration time.Duration
	env              map[string]string // of the services
}

const idleStep = time.Second // how long starting and stopping takes, about

// plan says how long it will take, about.
func (c *comparison) plan(loads []plannedLoad) time.Duration {
	total := 2*idleRuns*idleStep + c.allocationsStep()
	for _, l := range loads {
		total += time.Duration(2*c.Rounds) * l.step()
	}
	return total
}

func (l plannedLoad) step() time.Duration {
	step := l.warmUp + l.duration + idleStep
	if l.env == nil {
		step += 2 * time.Second // until the last visitor has its answer
	}
	return step
}

// measureLoad applies one load to both pairs in turn, as often as there are rounds, and begins with the other pair each
// time, so that a machine that gets slower or faster is so to both.
func (c *comparison) measureLoad(ctx context.Context, l plannedLoad) error {
	out := Load{Name: l.name, Connections: l.connections, DurationMS: milliseconds(l.duration)}
	runs := [2]*Runs{&out.Plain, &out.Instrumented}
	latencies := [2]*hdrhistogram.Histogram{newHistogram(), newHistogram()}
	for n := range c.Rounds {
		order := []int{0, 1}
		if n%2 == 1 {
			order = []int{1, 0}
		}
		for _, i := range order {
			c.progress.step(fmt.Sprintf("%s, round %d of %d, %s pair", l.name, n+1, c.Rounds, c.pairs[i].name), l.step())
			run, err := c.round(ctx, c.pairs[i], l.env, load{connections: l.connections, warmUp: l.warmUp, duration: l.duration})
			if err != nil {
				return err
			}
			if run.answered == 0 || run.latencies.TotalCount() == 0 {
				return fmt.Errorf("%s: the %s pair answered nothing: %s", l.name, c.pairs[i].name, describeErrors(run.errors))
			}
			round := Round{
				RequestsPerSecond: float64(run.inTime) / l.duration.Seconds(),
				P50MS:             float64(run.latencies.ValueAtQuantile(50)) / 1000,
				P90MS:             float64(run.latencies.ValueAtQuantile(90)) / 1000,
				P99MS:             float64(run.latencies.ValueAtQuantile(99)) / 1000,
				MaxMS:             float64(run.latencies.Max()) / 1000,
				CPUMicros:         max(0, float64((run.cpu-c.idle[i].cpu).Microseconds())/float64(run.answered)),
				PeakBytes:         run.peak,
				Answered:          run.answered,
				Errors:            run.errors,
			}
			if len(run.errors) > 0 {
				c.note(fmt.Sprintf("%s, round %d: of the %s pair's requests, %s.", l.name, n+1, c.pairs[i].name, describeErrors(run.errors)))
			} else if perRequest := c.idle[i].spans; perRequest > 0 { // a request that failed has fewer spans, or more
				lost := max(0, perRequest*run.answered-run.spans)
				round.SpansLost = &lost
				if lost > 0 {
					c.note(fmt.Sprintf("%s, round %d: %d of %d spans were lost: more of them than could be sent.", l.name, n+1, lost, perRequest*run.answered))
				}
			}
			runs[i].Rounds = append(runs[i].Rounds, round)
			latencies[i].Merge(run.latencies)
		}
	}
	for i, h := range latencies {
		for _, percent := range percents {
			runs[i].Latencies = append(runs[i].Latencies, Percentile{percent, float64(h.ValueAtQuantile(percent)) / 1000})
		}
	}
	out.compareRounds()
	c.report.Loads = append(c.report.Loads, out)
	return nil
}

// percents are those that are plotted.
var percents = []float64{1, 5, 10, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 92.5, 95, 96, 97, 98, 99, 99.5, 99.9}

// measured is what one round of one pair gave.
type measured struct {
	*result
	usage
	spans int64
}

// round starts a pair, applies a load, and stops it. What it starts is gone when it returns.
func (c *comparison) round(ctx context.Context, p pair, env map[string]string, l load) (_ *measured, err error) {
	var m measured
	var children []*child // in the order of their start; they are stopped the other way round
	var sink *child
	stop := func() error {
		var problems []error
		for _, child := range slices.Backward(children) {
			u, err := child.stop(c.hard)
			if err != nil {
				problems = append(problems, err)
			}
			if child != sink {
				m.add(u)
			}
		}
		children = nil
		return errors.Join(problems...)
	}
	defer func() {
		if err != nil {
			// What the stop has to say is a consequence.
			_ = stop()
		}
	}()
	start := func(name string, cmd *exec.Cmd) (*child, error) {
		child, err := startChild(ctx, name, cmd)
		if err == nil {
			children = append(children, child)
		}
		return child, err
	}
	common := map[string]string{"ADDR": "127.0.0.1:0"}
	maps.Copy(common, env)
	if p.caller.Instrumented {
		cmd := c.sink()
		cmd.Env = append(cmd.Env, environment(os.Environ())...)
		if sink, err = start("the sink of spans", cmd); err != nil {
			return nil, err
		}
		maps.Copy(common, map[string]string{
			"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://" + sink.addr,
			// Nobody reads the metrics, but they are kept.
			"OTEL_METRICS_EXPORTER":         "prometheus",
			"OTEL_EXPORTER_PROMETHEUS_HOST": "127.0.0.1",
			"OTEL_EXPORTER_PROMETHEUS_PORT": "0",
			"TRACE_LINK":                    "http://127.0.0.1:3000/trace/{trace_id}",
		})
	}
	run := func(s topology.Service, more map[string]string) (*child, error) {
		cmd := c.command(s.Name)
		cmd.Env = append(cmd.Env, environment(os.Environ(), services.Environment(s), common, more)...)
		return start(s.Name, cmd)
	}
	callee, err := run(p.callee, nil)
	if err != nil {
		return nil, err
	}
	caller, err := run(p.caller, map[string]string{"UPSTREAM": "http://" + callee.addr})
	if err != nil {
		return nil, err
	}

	// A child that dies ends the round; all others would only make errors of it.
	loaded, end := context.WithCancelCause(ctx)
	defer end(nil)
	for _, child := range children {
		go func() {
			select {
			case <-child.done:
				end(child.death())
			case <-loaded.Done():
			}
		}()
	}
	l.addr, l.host = caller.addr, p.caller.Host()
	if m.result, err = l.run(loaded); err != nil {
		return nil, err
	}
	end(nil)
	if err := stop(); err != nil {
		return nil, err
	}
	if sink != nil {
		var line sinkLine
		if err := json.Unmarshal(sink.out.tail, &line); err != nil || line.Msg != "received" {
			return nil, fmt.Errorf("the sink of spans did not say how many it received, but %q", sink.out.tail)
		}
		m.spans = line.Spans
	}
	return &m, nil
}

func (c *comparison) note(text string) { c.report.Notes = append(c.report.Notes, text) }

// still adds a figure that does not depend on load.
func (c *comparison) still(name, unit string, plain, instrumented float64) {
	c.report.Still = append(c.report.Still, newMetric(name, unit, []float64{plain}, []float64{instrumented}))
}

// describeErrors lists errors, the most frequent first.
func describeErrors(errs map[string]int64) string {
	names := slices.SortedFunc(maps.Keys(errs), func(a, b string) int {
		if errs[a] != errs[b] {
			return int(errs[b] - errs[a])
		}
		return strings.Compare(a, b)
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%d: %s", errs[name], name)
	}
	if len(names) == 0 {
		return "there was no time for any"
	}
	return strings.Join(names, "; ")
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
