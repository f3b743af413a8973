// Package doctor follows one request through a running stack, link by link: from the answer over
// trace, metrics, exemplar and log line to Grafana. It names the first broken link and its causes.
package doctor

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/demo/topology"
	"example.com/grafana-tempo-go-demo/demo/visit"
)

// Kind says how a stack is run, and so what its parts are called and which commands mend them.
type Kind string

const (
	// Compose is the stack of docker-compose.yaml, or one like it.
	Compose Kind = "compose"
	// Local is a run without Docker, `go run ./demo`.
	Local Kind = "local"
)

// The parts that only the compose stack has. Topology names the others.
const (
	prometheus = "prometheus"
	loki       = "loki"
	grafana    = "grafana"
)

// Options say which stack to follow a request through.
type Options struct {
	Kind Kind
	// Stack names the stack in the report, such as "the compose stack".
	Stack string
	// Note says what else could be examined; empty for nothing.
	Note string
	// URLs are addresses such as http://127.0.0.1:3200, without a slash at the end, by part: the
	// names of Parts, and explorer. A part without a URL is not in this stack.
	URLs map[string]string
	// EBPF examines the instrumentation from outside, too.
	EBPF bool

	// Waiting is called repeatedly during a wait, Finished after each link. Both may be nil.
	Waiting  func(link, waitingFor string, since time.Duration)
	Finished func(Link)

	// Tests replace how long to wait, how long between two questions, and the network.
	wait, interval time.Duration
	transport      http.RoundTripper
}

// State is what was found out about a link.
type State string

const (
	OK      State = "ok"
	Broken  State = "broken"
	Skipped State = "skipped" // it depends on one that is broken
	Absent  State = "absent"  // the stack does not have it
)

// Cause is a likely cause of a broken link.
type Cause struct {
	Why string `json:"why"` // a sentence
	Do  string `json:"do"`  // commands, or what to change, with "; " between them
}

// Link is what was found out about one link.
type Link struct {
	Name   string  `json:"name"` // such as "span metrics"
	State  State   `json:"state"`
	Millis float64 `json:"ms"` // what it took to find out, with the wait for what had to arrive
	Detail string  `json:"detail"`
	// Causes has the likeliest first; only of broken links.
	Causes []Cause `json:"causes,omitempty"`

	causes []cause
	about  string // About in the causes
	retry  bool   // this may change: try again while there is time
}

// Report is the outcome. Its JSON form is what `demo doctor -json` prints.
type Report struct {
	OK          bool   `json:"ok"`
	Stack       string `json:"stack"`
	TraceID     string `json:"trace_id,omitempty"` // 32 hexadecimal digits
	FirstBroken string `json:"first_broken,omitempty"`
	Links       []Link `json:"links"`
}

func fine(format string, args ...any) Link {
	return Link{State: OK, Detail: fmt.Sprintf(format, args...)}
}

func broken(detail string, causes ...cause) Link {
	return Link{State: Broken, Detail: detail, causes: causes}
}

func skipped(detail string) Link { return Link{State: Skipped, Detail: detail} }

// yet is for what may change.
func (l Link) yet() Link {
	l.retry = true
	return l
}

// with gives the causes what the check has found out.
func (l Link) with(about string) Link {
	l.about = about
	return l
}

// examination is one under way.
type examination struct {
	o       Options
	http    *http.Client
	backend *tempo.Client
	states  map[string]State // by link
	down    map[string]bool  // by part

	sent, answered time.Time
	response       *visit.Answer
	ours           bool   // it is from one of our services, if only to say that it failed
	id             string // of the trace
}

// Run sends one request and follows it. A broken link is no error. The error is that ctx ended; the
// report has what was found out until then.
func Run(ctx context.Context, o Options) (Report, error) {
	client := visit.Client()
	client.Transport, client.Timeout = cmp.Or(o.transport, client.Transport), answerTimeout
	e := &examination{o: o, http: client, states: map[string]State{}, down: map[string]bool{},
		backend: &tempo.Client{URL: o.URLs[topology.Tempo], HTTP: client}}
	report := Report{Stack: o.Stack}
	for _, c := range e.checks() {
		began := time.Now()
		link := e.examine(ctx, c)
		if ctx.Err() != nil {
			return report, fmt.Errorf("stopped at the link %q: %w", c.link, context.Cause(ctx))
		}
		link.Name = c.link
		for _, name := range link.causes {
			link.Causes = append(link.Causes, advice{e.o, c.part, link.about}.cause(name))
		}
		if link.State == OK || link.State == Broken {
			link.Millis = float64(time.Since(began).Microseconds()) / 1000
		}
		if link.State == Broken {
			report.FirstBroken = cmp.Or(report.FirstBroken, c.link)
		}
		e.states[c.link], report.TraceID = link.State, e.id
		report.Links = append(report.Links, link)
		if o.Finished != nil {
			o.Finished(link)
		}
	}
	report.OK = report.FirstBroken == ""
	return report, nil
}

// examine runs a check if there is something to examine, until it finds what will not change, or there
// is no more time; at least once.
func (e *examination) examine(ctx context.Context, c check) Link {
	if e.o.URLs[c.part] == "" {
		return Link{State: Absent, Detail: "not in this stack"}
	}
	for _, need := range c.needs {
		missing := e.states[need] == Broken || e.states[need] == Skipped
		if missing && !(need == linkGateway && e.ours) { // an answer that says that it failed names its trace, too
			return skipped("needs: " + need)
		}
	}
	if e.down[c.part] {
		return skipped("needs: " + e.o.name(c.part) + ", which is down")
	}
	began := time.Now()
	deadline := began.Add(cmp.Or(e.o.wait, c.usual))
	if slices.Contains(c.needs, linkTraceID) { // it waits for something of the request
		deadline = e.answered.Add(cmp.Or(e.o.wait, c.usual))
	}
	interval := cmp.Or(e.o.interval, 250*time.Millisecond)
	if c.run == nil {
		c.run = func(ctx context.Context) Link { return e.askAll(ctx, c) }
	}
	for {
		link := c.run(ctx)
		if !link.retry || ctx.Err() != nil || time.Now().Add(interval).After(deadline) {
			return link
		}
		if e.o.Waiting != nil {
			e.o.Waiting(c.link, c.waitingFor, time.Since(began))
		}
		select {
		case <-ctx.Done():
		case <-time.After(interval):
		}
	}
}
