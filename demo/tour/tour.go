// Package tour tells the demo's story once: it starts everything, calls both services, and reports
// what an outsider, the trace and the hop ledger say of the calls.
package tour

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"example.com/grafana-tempo-go-demo/demo/header"
	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/stack"
	"example.com/grafana-tempo-go-demo/demo/story"
	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/demo/topology"
	"example.com/grafana-tempo-go-demo/demo/visit"
)

const (
	// traceTimeout is how long to wait for a trace to be complete: usually a quarter of a second.
	traceTimeout = 15 * time.Second
	// ledgerTimeout is for the services' log lines, which usually are there by then.
	ledgerTimeout = 2 * time.Second
)

// Options say which story to tell.
type Options struct {
	// Fail and Slow name a dependency of both calls: redis, database or none.
	Fail, Slow string
	// Bin has the services' programs, as in stack.Options.
	Bin string
	// Messages gets the progress, and the log if something goes wrong.
	Messages io.Writer
}

// Report is what is known of the two calls.
type Report struct {
	Plain, Instrumented Call
}

// Call is a call with what is known of it.
type Call struct {
	*visit.Answer
	Hops  *ledger.Request // nil if the ledger has not got it
	Trace *story.Trace    // nil if it was not found
}

// Run starts everything on free ports, makes the two calls and stops everything. What it starts is
// gone when it returns. It gives up when ctx ends, and kills what still stops then when kill ends.
func Run(ctx, kill context.Context, o Options) (*Report, error) {
	var logs bytes.Buffer // of two calls
	s, err := stack.Start(ctx, stack.Options{Addrs: stack.AnyAddrs(), Bin: o.Bin, Logs: &logs, Messages: o.Messages})
	var report *Report
	if err == nil {
		report, err = observe(ctx, s, o)
		err = errors.Join(err, s.Stop(kill))
	}
	if err != nil && ctx.Err() == nil && logs.Len() > 0 {
		fmt.Fprintf(o.Messages, "the log of what was started:\n%s", &logs)
	}
	return report, err
}

// observe makes the two calls and fetches what is known of them.
func observe(ctx context.Context, s *stack.Stack, o Options) (*Report, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case death := <-s.Deaths():
			cancel(death)
		case <-ctx.Done():
		}
	}()
	client := visit.Client()
	call := func(service string) (c Call, err error) {
		c.Answer, err = visit.Get(ctx, client, s.URLs().Gateway,
			visit.Request{Service: service, Fail: o.Fail, Slow: o.Slow}, "demo-tour")
		switch {
		case ctx.Err() != nil:
			return c, fmt.Errorf("call %s: %w", service, context.Cause(ctx))
		case err != nil:
			return c, fmt.Errorf("call %s: %w", service, err)
		case c.Status != http.StatusOK && o.Fail == "":
			return c, fmt.Errorf("%s answered %d", c.URL, c.Status)
		}
		return c, nil
	}
	var r Report
	var err error
	if r.Plain, err = call(topology.Uservice1); err != nil {
		return nil, err
	}
	if r.Instrumented, err = call(topology.Uservice3); err != nil {
		return nil, err
	}
	id := header.Decode(header.TraceResponse, r.Instrumented.TraceResponse)
	if id.TraceID == "" {
		return nil, fmt.Errorf("%s: no usable traceresponse header: %q: %s", r.Instrumented.URL, id.Value, id.Problem)
	}
	store := &tempo.Client{URL: s.URLs().Tempo, HTTP: client}
	trace, err := fetch(ctx, store, id.TraceID, traceTimeout)
	if err != nil {
		return nil, err
	}
	r.readHops(ctx, s.Ledger(), o.Fail)
	var known story.Options
	if hops := r.Instrumented.Hops; hops != nil {
		known.Requests = []ledger.Request{*hops}
	}
	r.Instrumented.Trace = story.Tell(trace, known)
	if hops := r.Plain.Hops; hops != nil && len(hops.Traces) > 0 {
		// The gateway's spans of a later call are there, so those of this one are.
		if trace, err := store.Trace(ctx, hops.Traces[0]); err == nil {
			r.Plain.Trace = story.Tell(trace, story.Options{})
		}
	}
	return &r, nil
}

// fetch waits until a trace is complete and returns it. At the limit it returns what there is; no span at
// all is an error.
func fetch(ctx context.Context, c *tempo.Client, id string, limit time.Duration) (trace *tempo.Trace, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("trace %s did not arrive within %s", id, limit))
	defer cancel()
	complete := false
	poll(ctx, 50*time.Millisecond, func() bool {
		var found *tempo.Trace
		if found, err = c.Trace(ctx, id); err != nil {
			return !errors.Is(err, tempo.ErrNotFound)
		}
		trace, complete = found, story.Tell(found, story.Options{}).Complete()
		return complete
	})
	switch {
	case complete, trace != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return trace, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	}
	return nil, fmt.Errorf("fetch trace %s: %w", id, err)
}

// readHops reads what the ledger has of the two calls, as soon as all that is expected is there: the
// services' lines come through pipes. What has not come within ledgerTimeout is missing.
func (r *Report) readHops(ctx context.Context, l *ledger.Ledger, fail string) {
	ctx, cancel := context.WithTimeout(ctx, ledgerTimeout)
	defer cancel()
	hops := 3            // client to gateway to uservice3 to uservice4
	if fail == "redis" { // nobody else is called
		hops = 2
	}
	poll(ctx, 10*time.Millisecond, func() bool {
		for _, found := range l.Recent(10) {
			switch {
			case len(found.Hops) < 2: // it did not pass the gateway, or not yet
			case found.Hops[1].To == topology.Uservice1:
				r.Plain.Hops = &found
			case found.Hops[1].To == topology.Uservice3:
				r.Instrumented.Hops = &found
			}
		}
		return r.Plain.Hops != nil && r.Plain.Hops.Outcome == ledger.Ended &&
			r.Instrumented.Hops != nil && len(r.Instrumented.Hops.Hops) >= hops
	})
}

// poll tries something until it is done or ctx ends.
func poll(ctx context.Context, interval time.Duration, done func() bool) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
