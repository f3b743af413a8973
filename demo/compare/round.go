package compare

import (
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
)

// measured is what one round of one pair gave.
type measured struct {
	*result
	cpu      time.Duration // of both services together
	peak     int64         // of memory, the same, in bytes; 0 where it is unknown
	binaries int64         // size of the files, the same, in bytes
	spans    int64         // that arrived
}

// round starts a pair, and the sink before it for one that sends spans, applies a load, and stops
// it. What it starts is gone when it returns.
func (c *comparison) round(ctx context.Context, p pair, l load) (m *measured, err error) {
	m = &measured{}
	var started []*process.Process // in the order of their start
	defer func() {
		if stopped := c.stop(started, m); err == nil { // otherwise it is only a consequence
			err = stopped
		}
	}()
	start := func(name string, env map[string]string) (addr string, err error) {
		o := c.program(name)
		o.Name, o.Env = name, append(o.Env, services.Merge(os.Environ(), env)...)
		child, err := process.Start(o)
		if err != nil {
			return "", err
		}
		started = append(started, child)
		return child.Wait(ctx)
	}
	common := map[string]string{"ADDR": "127.0.0.1:0"}
	maps.Copy(common, l.env)
	for _, s := range p.services {
		if s.Instrumented && len(started) == 0 {
			sink, err := start(sinkName, nil)
			if err != nil {
				return m, err
			}
			common["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = "http://" + sink
			common["OTEL_EXPORTER_PROMETHEUS_HOST"] = "127.0.0.1" // nobody reads the metrics, but they are kept
			common["OTEL_EXPORTER_PROMETHEUS_PORT"] = "0"
			common["TRACE_LINK"] = "http://127.0.0.1:3000/trace/{trace_id}"
		}
		env := services.Environment(s)
		maps.Copy(env, common)
		addr, err := start(s.Name, env)
		if err != nil {
			return m, err
		}
		common["UPSTREAM"] = "http://" + addr // of the next one, which calls it
		l.addr, l.host = addr, s.Host()
	}
	m.result, err = l.run(ctx)
	return m, err
}

// stop ends processes, the last that was started first, and adds what they used and counted.
func (c *comparison) stop(started []*process.Process, m *measured) error {
	var problems []error
	for _, child := range slices.Backward(started) {
		if child.Ended() {
			problems = append(problems, fmt.Errorf("%s ended by itself: %s", child.Name(), child.How()))
		} else if err := child.Stop(c.hard); err != nil {
			problems = append(problems, err)
		} else if child.Name() != sinkName {
			cpu, peak := child.Usage()
			m.cpu, m.peak = m.cpu+cpu, m.peak+peak
			if file, err := os.Stat(c.program(child.Name()).Path); err == nil {
				m.binaries += file.Size()
			}
		} else if m.spans, err = strconv.ParseInt(child.LastLine(), 10, 64); err != nil {
			problems = append(problems, fmt.Errorf("%s did not say how many it received, but %q", sinkName, child.LastLine()))
		}
	}
	return errors.Join(problems...)
}

// describeErrors lists errors by name.
func describeErrors(errs map[string]int64) string {
	if len(errs) == 0 {
		return "there was no time for any"
	}
	var all []string
	for _, name := range slices.Sorted(maps.Keys(errs)) {
		all = append(all, fmt.Sprintf("%d: %s", errs[name], name))
	}
	return strings.Join(all, "; ")
}
