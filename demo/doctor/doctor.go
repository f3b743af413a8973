// Package doctor follows one request through a running stack, link by link: from the answer over
// trace, metrics, exemplar and log line to Grafana. It names the first broken link and its causes.
package doctor

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"time"

	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/demo/topology"
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
	// Wait is how long to wait, from the answer on, for what arrives later. With 0 each link gets
	// what it usually needs and a margin, 10 to 50 s.
	Wait time.Duration
	// SelfTracing reports that SELF_TRACING=true is set where the stack was presumably started.
	SelfTracing bool
	// EBPF examines the instrumentation from outside, too.
	EBPF bool

	// Waiting is called repeatedly during a wait, Finished after each link. Both may be nil.
	Waiting  func(link, waitingFor string, since time.Duration)
	Finished func(Link)

	override string        // that the compose stack has: collectors, scale or none
	interval time.Duration // between two questions; 0 for the default
	// dial replaces the network in tests; nil for the real one.
	dial func(ctx context.Context, network, addr string) (net.Conn, error)
	root fs.FS // likewise the file system, from which Linux tells about itself
}

// State is what was found out about a link.
type State string

const (
	OK      State = "ok"
	Broken  State = "broken"
	Skipped State = "skipped" // it depends on one that is broken
	Absent  State = "absent"  // the stack does not have it
	Unseen  State = "unseen"  // it is not for this machine, or this user, to see
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
}

// Report is the outcome. Its JSON form is what `demo doctor -json` prints.
type Report struct {
	OK          bool   `json:"ok"`
	Stack       string `json:"stack"`
	TraceID     string `json:"trace_id,omitempty"` // 32 hexadecimal digits
	FirstBroken string `json:"first_broken,omitempty"`
	Links       []Link `json:"links"`
}

// The links.
const (
	linkGateway     = "gateway"
	linkTraceID     = "trace id"
	linkPipeline    = "pipeline" // with an override only
	linkStore       = "trace store"
	linkHeader      = "header"
	linkSpans       = "spans"
	linkSearch      = "search"
	linkMetrics     = "span metrics"
	linkExemplar    = "exemplar"
	linkLog         = "log line"
	linkGrafana     = "grafana"
	linkDataSources = "data sources"
	linkTraceLink   = "trace link"
	linkOwnSpans    = "own spans"
)

// check examines one link.
type check struct {
	link  string
	needs []string // links without which there is nothing to examine
	part  string   // that it asks; a stack without it does not have the link
	// usual is how long to wait from the answer on, or, where nothing is needed, from the start.
	usual      time.Duration
	waitingFor string
	run        func(context.Context) outcome
}

// checks are in the order in which a request's telemetry travels.
func (v *visit) checks() []check {
	const s = time.Second
	answer, trace := []string{linkTraceID}, []string{linkTraceID, linkStore}
	list := []check{
		{linkGateway, nil, topology.Gateway, 3 * s, "the gateway may have no routes yet", v.gateway},
		{linkTraceID, []string{linkGateway}, topology.Gateway, 3 * s, "the log line arrives", v.traceID},
		{linkStore, nil, topology.Tempo, 20 * s, v.o.title(topology.Tempo) + " is starting", v.tempoReady},
		{linkHeader, trace, topology.Tempo, 10 * s, "the spans arrive", v.header},
		{linkSpans, trace, topology.Tempo, 10 * s, "the spans arrive", v.spans},
		{linkSearch, trace, topology.Tempo, 20 * s, "a search finds what has been idle for 3 s", v.search},
		{linkMetrics, trace, prometheus, 30 * s, "Tempo writes to Prometheus every 5 s", v.spanMetrics},
		{linkExemplar, answer, prometheus, 50 * s, "Prometheus scrapes every 15 s", v.exemplar},
		{linkLog, answer, loki, 20 * s, "the log line arrives", v.logLine},
		{linkGrafana, nil, grafana, 20 * s, "Grafana is starting", v.grafana},
		{linkDataSources, []string{linkGrafana}, grafana, 0, "", v.dataSources},
		{linkTraceLink, answer, topology.Gateway, 0, "", v.traceLink},
	}
	if v.o.override != "" {
		list = slices.Insert(list, 2, check{linkPipeline, nil, prometheus, 30 * s, "Prometheus scrapes every 15 s", v.pipeline})
	}
	if v.o.EBPF {
		list = append(list, v.kernelChecks()...)
	}
	if v.o.SelfTracing {
		list = append(list, check{linkOwnSpans, nil, topology.Tempo, 10 * s, "the spans arrive", v.ownSpans})
	}
	return list
}

// outcome is what a check finds.
type outcome struct {
	state  State
	detail string
	causes []cause
	about  any // About in the causes

	retry bool  // this may change: try again while there is time
	judge judge // finds the causes when there is no more time; may be nil
}

// judge finds out why something did not come.
type judge func(ctx context.Context, detail string) outcome

func fine(format string, args ...any) outcome {
	return outcome{state: OK, detail: fmt.Sprintf(format, args...)}
}

func broken(detail string, causes ...cause) outcome {
	return outcome{state: Broken, detail: detail, causes: causes}
}

// missing is for what may still come, and is judged if it does not.
func missing(detail string, judge judge) outcome {
	return outcome{detail: detail, retry: true, judge: judge}
}

func skipped(detail string) outcome { return outcome{state: Skipped, detail: detail} }

var (
	absent = outcome{state: Absent, detail: "not in this stack"}
	unseen = outcome{state: Unseen, detail: "only root can see this, on the machine that has the kernel"}
)

// yet is for what may change.
func (out outcome) yet() outcome {
	out.retry = true
	return out
}

// with gives the causes what the check has found out.
func (out outcome) with(about any) outcome {
	out.about = about
	return out
}

// visit is one examination under way.
type visit struct {
	o       Options
	http    *http.Client
	backend *tempo.Client
	states  map[string]State // by link
	down    map[string]bool  // by part

	// What Prometheus knew before the request, -1 for no series: what differs afterwards is alive.
	before struct{ calls, edge float64 }

	sent, answered time.Time
	response       response
	ours           bool         // the answer is one of our services, if only to say that it failed
	id             string       // of the trace
	sampled        bool         // there is something to follow
	trace          *tempo.Trace // as far as it has arrived; nil for nothing at all
	own            string       // id of the trace that the stack makes of itself

	// Of the request to uservice1, for the eBPF instrumentation.
	plainSent, plainAnswered time.Time
	seen                     map[string]*tempo.Trace // by service
}

// Run sends one request and follows it. A broken link is no error. The error is that ctx ended; the
// report has what was found out until then.
func Run(ctx context.Context, o Options) (Report, error) {
	// Not the environment's proxy: the parts are on this machine, or where the flags say.
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil
	if o.dial != nil {
		transport.DialContext = o.dial
	}
	defer transport.CloseIdleConnections()
	if o.root == nil && runtime.GOOS == "linux" {
		o.root = os.DirFS("/")
	}
	report := Report{Stack: o.Stack}
	v := &visit{o: o, states: map[string]State{}, down: map[string]bool{}}
	v.http = &http.Client{
		Transport: transport,
		// A redirect is an answer to judge, mostly one that asks for a login.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	v.backend = &tempo.Client{URL: o.URLs[topology.Tempo], HTTP: v.http}
	v.look(ctx)
	v.readNumbers(ctx)
	for _, c := range v.checks() {
		began := time.Now()
		out := v.examine(ctx, c)
		if ctx.Err() != nil {
			return report, fmt.Errorf("stopped at the link %q: %w", c.link, context.Cause(ctx))
		}
		link := Link{Name: c.link, State: out.state, Detail: out.detail}
		for _, name := range out.causes {
			link.Causes = append(link.Causes, advice{v.o, c.part, out.about}.cause(name))
		}
		if out.state == OK || out.state == Broken {
			link.Millis = float64(time.Since(began).Microseconds()) / 1000
		}
		v.states[c.link] = out.state
		if out.state == Broken && report.FirstBroken == "" {
			report.FirstBroken = c.link
		}
		report.TraceID = v.id
		report.Links = append(report.Links, link)
		if o.Finished != nil {
			o.Finished(link)
		}
	}
	report.OK = report.FirstBroken == ""
	return report, nil
}

// examine runs a check if there is something to examine.
func (v *visit) examine(ctx context.Context, c check) outcome {
	if v.o.URLs[c.part] == "" {
		return absent
	}
	for _, need := range c.needs {
		failed := v.states[need] == Broken || v.states[need] == Skipped
		// An answer that says that it failed names its trace, too.
		goOn := need == linkGateway && v.ours || need == linkTraceID && v.sampled
		if failed && !goOn {
			return skipped("needs: " + need)
		}
	}
	if v.down[c.part] {
		return skipped("needs: " + v.o.title(c.part) + ", which is down")
	}
	out := v.retry(ctx, c)
	if out.judge != nil {
		out = out.judge(ctx, out.detail)
	}
	if out.state == Broken && v.states[linkPipeline] == Broken && slices.Contains(c.needs, linkStore) {
		return skipped("needs: " + linkPipeline)
	}
	return out
}

// retry runs a check until it finds what will not change, or there is no more time; at least once.
func (v *visit) retry(ctx context.Context, c check) outcome {
	began, wait := time.Now(), cmp.Or(v.o.Wait, c.usual)
	deadline := v.answered.Add(wait)
	if len(c.needs) == 0 { // it does not depend on the request, as a part that starts
		deadline = began.Add(min(wait, c.usual))
	}
	interval := cmp.Or(v.o.interval, 250*time.Millisecond)
	for {
		out := c.run(ctx)
		if !out.retry || ctx.Err() != nil || time.Now().Add(interval).After(deadline) {
			return out
		}
		if v.o.Waiting != nil {
			v.o.Waiting(c.link, c.waitingFor, time.Since(began))
		}
		select {
		case <-ctx.Done():
		case <-time.After(interval):
		}
	}
}
