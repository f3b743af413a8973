package compare

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"example.com/grafana-tempo-go-demo/demo/process"
	"example.com/grafana-tempo-go-demo/demo/services"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// load is a closed loop: each connection sends its next request when it has the answer to the last,
// so that a slower service is asked less. Connections are kept alive.
type load struct {
	name        string
	env         map[string]string // variables of the services
	connections int
	requests    uint64        // if not zero, no more are sent
	duration    time.Duration // if not zero, no more are sent then; those under way are waited for
}

// atOnce is a pace without pauses, until it is over.
type atOnce struct {
	vegeta.ConstantPacer
	over func(sent uint64) bool
}

// Pace is as of vegeta.Pacer.
func (a atOnce) Pace(_ time.Duration, sent uint64) (wait time.Duration, stop bool) {
	return 0, a.over(sent)
}

// measured is what one round of one pair gave.
type measured struct {
	vegeta.Metrics
	cpu      time.Duration // of both services together
	peak     int64         // of memory, the same, in bytes; 0 where it is unknown
	binaries int64         // size of the files, the same, in bytes
	spans    int64         // that arrived
}

// failures says how many requests were not answered with success, and why.
func (m *measured) failures() string {
	return fmt.Sprintf("%.0f of %d requests failed: %s.",
		float64(m.Requests)*(1-m.Success), m.Requests, strings.Join(m.Errors, "; "))
}

// round starts a pair, applies a load, and stops it. What it starts is gone when it returns.
func (c *comparison) round(ctx context.Context, instrumented bool, l load) (m *measured, err error) {
	m = &measured{spans: -c.sink.spans.Load()}
	var started []*process.Process // in the order of their start
	defer func() {
		for _, child := range slices.Backward(started) {
			err = errors.Join(err, child.Stop(c.hard))
			cpu, peak := child.Usage()
			m.cpu, m.peak = m.cpu+cpu, m.peak+peak
		}
		m.spans += c.sink.spans.Load()
	}()
	var addr, host, upstream string
	for _, s := range topology.Services() {
		if s.Instrumented != instrumented {
			continue
		}
		env := services.Environment(s)
		maps.Copy(env, l.env)
		maps.Copy(env, map[string]string{
			"ADDR": "127.0.0.1:0", "UPSTREAM": upstream,
			"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": c.endpoint,
			"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT":   c.endpoint + "/v1/logs",
			"OTEL_EXPORTER_PROMETHEUS_HOST":      "127.0.0.1", // nobody reads the metrics, but they are kept
			"OTEL_EXPORTER_PROMETHEUS_PORT":      "0",
			"TRACE_LINK":                         "http://127.0.0.1:3000/trace/{trace_id}",
		})
		o := c.program(s.Name)
		o.Name, o.Env = s.Name, append(o.Env, services.Merge(os.Environ(), env)...)
		child, err := process.Start(ctx, o)
		if err != nil {
			return m, err
		}
		started = append(started, child)
		defer context.AfterFunc(c.hard, child.Kill)()
		if file, err := os.Stat(o.Path); err == nil {
			m.binaries += file.Size()
		}
		addr, host, upstream = child.Addr, s.Host(), "http://"+child.Addr
	}
	return m, l.run(ctx, addr, host, &m.Metrics)
}

// run applies the load to a server, by a host name, until it is over or ctx ends, which is an error.
func (l load) run(ctx context.Context, addr, host string, m *vegeta.Metrics) error {
	workers := uint64(l.connections)
	attacker := vegeta.NewAttacker(vegeta.Workers(workers), vegeta.MaxWorkers(workers), vegeta.MaxBody(0))
	target := vegeta.Target{Method: http.MethodGet, URL: "http://" + addr + "/", Header: http.Header{"Host": {host}}}
	pace := atOnce{over: func(sent uint64) bool { return ctx.Err() != nil || l.requests != 0 && sent >= l.requests }}
	for r := range attacker.Attack(vegeta.NewStaticTargeter(target), pace, l.duration, "") {
		r.Error = strings.TrimSpace(r.Error[strings.LastIndex(r.Error, ":")+1:]) // without addresses
		m.Add(r)
	}
	m.Close()
	return context.Cause(ctx)
}
