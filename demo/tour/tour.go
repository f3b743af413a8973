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
	"net/url"
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
	Plain, Instrumented *visit.Answer
	// Complete reports whether all spans of the second call were there; see tempo.Trace.Complete.
	Complete bool
	Ledger   Ledger

	told []*story.Trace // of the second call, and of the first, if it was found
}

// Ledger has the two calls' entries in the hop ledger, or nil.
type Ledger struct{ Plain, Instrumented *ledger.Request }

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
	gateway, err := url.Parse(s.URLs().Gateway)
	if err != nil {
		return nil, err
	}
	call := func(service string) (*visit.Answer, error) {
		want := visit.Request{Service: service, Fail: o.Fail, Slow: o.Slow}
		answer, err := visit.Get(ctx, transport, gateway, want, "demo-tour")
		switch {
		case ctx.Err() != nil:
			return nil, fmt.Errorf("call %s: %w", want.Service, context.Cause(ctx))
		case err != nil:
			return nil, fmt.Errorf("call %s: %w", want.Service, err)
		case answer.Status != http.StatusOK && want.Fail == "":
			return nil, fmt.Errorf("%s answered %d", answer.URL, answer.Status)
		}
		return answer, nil
	}
	var r Report
	if r.Plain, err = call(topology.Uservice1); err != nil {
		return nil, err
	}
	if r.Instrumented, err = call(topology.Uservice3); err != nil {
		return nil, err
	}
	id, err := traceID(r.Instrumented.TraceResponse)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.Instrumented.URL, err)
	}
	client := &tempo.Client{URL: s.URLs().Tempo, HTTP: &http.Client{Transport: transport}}
	trace, complete, err := fetch(ctx, client, id, traceTimeout)
	if err != nil {
		return nil, err
	}
	r.Complete = complete
	r.Ledger = readHops(ctx, s.Ledger(), o.Fail)
	var known story.Options
	if r.Ledger.Instrumented != nil {
		known.Requests = []ledger.Request{*r.Ledger.Instrumented}
	}
	r.told = []*story.Trace{story.Tell(trace, known)}
	if plain := r.Ledger.Plain; plain != nil && len(plain.Traces) > 0 {
		// The gateway's spans of a later call are there, so those of this one are.
		if trace, err := client.Trace(ctx, plain.Traces[0]); err == nil {
			r.told = append(r.told, story.Tell(trace, story.Options{}))
		}
	}
	return &r, nil
}

// transport reaches parts on this machine, whatever HTTP_PROXY says.
var transport = &http.Transport{}

// traceID takes the trace id out of a traceresponse header.
func traceID(response string) (string, error) {
	h := header.Decode(header.TraceResponse, response)
	if h.TraceID == "" {
		return "", fmt.Errorf("the answer has no usable traceresponse header: %q: %s", h.Value, h.Problem)
	}
	return h.TraceID, nil
}

// fetch waits until a trace is complete and returns it. At the limit it returns what there is, and
// complete is false; no span at all is an error.
func fetch(ctx context.Context, c *tempo.Client, id string, limit time.Duration) (trace *tempo.Trace, complete bool, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("trace %s did not arrive within %s", id, limit))
	defer cancel()
	poll(ctx, 50*time.Millisecond, func() bool {
		var t *tempo.Trace
		if t, err = c.Trace(ctx, id); err == nil {
			trace, complete = t, t.Complete()
		}
		return complete || err != nil && !errors.Is(err, tempo.ErrNotFound)
	})
	switch {
	case complete, trace != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return trace, complete, nil
	case ctx.Err() != nil:
		return nil, false, context.Cause(ctx)
	default:
		return nil, false, fmt.Errorf("fetch trace %s: %w", id, err)
	}
}

// readHops returns what the ledger has of the two calls, as soon as all that is expected is there:
// the services' lines come through pipes. What has not come within ledgerTimeout is missing.
func readHops(ctx context.Context, l *ledger.Ledger, fail string) (found Ledger) {
	ctx, cancel := context.WithTimeout(ctx, ledgerTimeout)
	defer cancel()
	hops := 3            // client to gateway to uservice3 to uservice4
	if fail == "redis" { // nobody else is called
		hops = 2
	}
	poll(ctx, 10*time.Millisecond, func() bool {
		for _, r := range l.Recent(10) {
			switch {
			case len(r.Hops) < 2: // it did not pass the gateway, or not yet
			case r.Hops[1].To == topology.Uservice1:
				found.Plain = &r
			case r.Hops[1].To == topology.Uservice3:
				found.Instrumented = &r
			}
		}
		return found.Plain != nil && found.Plain.Outcome == ledger.Ended &&
			found.Instrumented != nil && len(found.Instrumented.Hops) >= hops
	})
	return found
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
