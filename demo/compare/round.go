package compare

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/process"
	"example.com/grafana-tempo-go-demo/demo/services"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// measured is what one round of one pair gave.
type measured struct {
	*result
	process.Usage       // of both services together
	spans         int64 // that arrived
}

// round starts a pair, applies a load, and stops it. What it starts is gone when it returns.
func (c *comparison) round(ctx context.Context, p pair, env map[string]string, l load) (*measured, error) {
	var started []*process.Process // in the order of their start
	result, err := c.apply(ctx, p, env, l, &started)
	m := &measured{result: result}
	stopped := c.stop(started, &m.Usage)
	if err != nil {
		return nil, err // an error of the stop would only be a consequence
	}
	if stopped != nil {
		return nil, stopped
	}
	if sink := started[0]; sink.Name() == sinkName {
		if m.spans, err = strconv.ParseInt(sink.LastLine(), 10, 64); err != nil {
			return nil, fmt.Errorf("%s did not say how many it received, but %q", sinkName, sink.LastLine())
		}
	}
	return m, nil
}

// apply starts a pair, and the sink before it for one that sends spans, and applies a load.
func (c *comparison) apply(ctx context.Context, p pair, env map[string]string, l load,
	started *[]*process.Process) (*result, error) {
	start := func(name string, own map[string]string) (addr string, err error) {
		o := c.program(name)
		o.Name, o.Env = name, append(o.Env, services.Merge(os.Environ(), own)...)
		child, err := c.starter.Start(o)
		if err != nil {
			return "", err
		}
		*started = append(*started, child)
		return child.Wait(ctx)
	}
	common := map[string]string{"ADDR": "127.0.0.1:0"}
	maps.Copy(common, env)
	if p.caller.Instrumented {
		addr, err := start(sinkName, nil)
		if err != nil {
			return nil, err
		}
		common["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = "http://" + addr
		common["OTEL_EXPORTER_PROMETHEUS_HOST"] = "127.0.0.1" // nobody reads the metrics, but they are kept
		common["OTEL_EXPORTER_PROMETHEUS_PORT"] = "0"
		common["TRACE_LINK"] = "http://127.0.0.1:3000/trace/{trace_id}"
	}
	startService := func(s topology.Service) (addr string, err error) {
		own := services.Environment(s)
		maps.Copy(own, common)
		return start(s.Name, own)
	}
	callee, err := startService(p.callee)
	if err != nil {
		return nil, err
	}
	common["UPSTREAM"] = "http://" + callee
	caller, err := startService(p.caller)
	if err != nil {
		return nil, err
	}

	// The end of a process ends the round: all further requests would be errors.
	loaded, end := context.WithCancelCause(ctx)
	defer end(nil)
	for _, child := range *started {
		go func() {
			select {
			case <-child.Done():
				end(endedByItself(child))
			case <-loaded.Done():
			}
		}()
	}
	l.addr, l.host = caller, p.caller.Host()
	return l.run(loaded)
}

// stop ends processes, the last that was started first, and adds up what the services used.
func (c *comparison) stop(started []*process.Process, used *process.Usage) error {
	var problems []error
	for _, child := range slices.Backward(started) {
		if child.Ended() {
			problems = append(problems, endedByItself(child))
			continue
		}
		if err := child.Stop(c.hard); err != nil {
			problems = append(problems, err)
		} else if child.Name() != sinkName {
			used.CPU += child.Usage().CPU
			used.Peak += child.Usage().Peak
		}
	}
	return errors.Join(problems...)
}

func endedByItself(p *process.Process) error {
	return fmt.Errorf("%s ended by itself: %s", p.Name(), p.How())
}

// newRound turns what was measured into what is reported, less what the idle pair takes.
func newRound(run, idle *measured, duration time.Duration) Round {
	round := Round{
		RequestsPerSecond: float64(run.inTime) / duration.Seconds(),
		P50MS:             float64(run.latencies.ValueAtQuantile(50)) / 1000,
		P90MS:             float64(run.latencies.ValueAtQuantile(90)) / 1000,
		P99MS:             float64(run.latencies.ValueAtQuantile(99)) / 1000,
		MaxMS:             float64(run.latencies.Max()) / 1000,
		CPUMicros:         max(0, float64((run.CPU-idle.CPU).Microseconds())/float64(run.answered)),
		PeakBytes:         run.Peak,
		Answered:          run.answered,
		Errors:            run.errors,
	}
	if len(run.errors) == 0 && idle.spans > 0 { // a request that failed has fewer spans, or more
		lost := max(0, idle.spans*run.answered-run.spans)
		round.SpansLost = &lost
	}
	return round
}

// describeErrors lists errors, the most frequent first.
func describeErrors(errs map[string]int64) string {
	if len(errs) == 0 {
		return "there was no time for any"
	}
	names := slices.SortedFunc(maps.Keys(errs), func(a, b string) int { return cmp.Compare(errs[b], errs[a]) })
	for i, name := range names {
		names[i] = fmt.Sprintf("%d: %s", errs[name], name)
	}
	return strings.Join(names, "; ")
}
