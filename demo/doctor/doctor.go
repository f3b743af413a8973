// Package doctor follows one request through a running stack, link by link: from the proxy's answer over its trace, the
// metrics, the exemplar and the log line to Grafana. It names the first link that is broken, with its likely causes.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/tempo"
)

// Kind says how a stack is run, and so what its parts are called and which commands mend them.
type Kind string

const (
	// Compose is the stack of docker-compose.yaml, or one like it.
	Compose Kind = "compose"
	// Local is a run without Docker, `go run ./demo`.
	Local Kind = "local"
)

// Options say which stack to follow a request through.
type Options struct {
	Kind Kind
	// Stack names the stack in the report, such as "docker compose".
	Stack string
	// Gateway, Tempo and the rest are URLs such as http://127.0.0.1:3200. The first two are required; a part whose URL is
	// empty is one that this stack does not have.
	Gateway, Tempo, Prometheus, Loki, Grafana string
	// Explorer is the page with the traces where there is no Grafana.
	Explorer string
	// Wait is how long to wait, from the answer on, for what arrives later; 0 gives each link what it usually needs, with
	// a margin: 10 s for spans, 20 s for the search, 30 s for span metrics, 50 s for exemplars, 20 s for log lines.
	Wait time.Duration
	// Getenv tells the variables that the stack was presumably started with; nil means none. TRACING matters.
	Getenv func(string) string

	// Waiting is called again and again while a link is waited for, Finished when one is done; both may be nil.
	Waiting  func(link, waitingFor string, since time.Duration)
	Finished func(Link)

	interval time.Duration // between two questions, 0 for the default
	// dial replaces the network in tests; nil for the real one.
	dial func(ctx context.Context, network, addr string) (net.Conn, error)
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
	Do  string `json:"do"`  // a command, or what to change
}

// Link is what was found out about one link.
type Link struct {
	Name   string  `json:"name"` // one of Names()
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

// The links, in the order in which the request's traces are followed.
const (
	linkProxy       = "proxy"
	linkTraceID     = "trace id"
	linkTempo       = "tempo"
	linkHeader      = "header"
	linkSpans       = "spans"
	linkSearch      = "search"
	linkMetrics     = "span metrics"
	linkExemplar    = "exemplar"
	linkLog         = "log line"
	linkGrafana     = "grafana"
	linkDataSources = "data sources"
	linkTraceLink   = "trace link"
)

// outcome is what a check returns.
type outcome struct {
	state  State
	detail string
	causes []Cause
}

func fine(format string, args ...any) outcome {
	return outcome{state: OK, detail: fmt.Sprintf(format, args...)}
}

func broken(detail string, causes ...Cause) outcome {
	return outcome{state: Broken, detail: detail, causes: causes}
}

func skipped(detail string) outcome { return outcome{state: Skipped, detail: detail} }

func absent(detail string) outcome { return outcome{state: Absent, detail: detail} }

// check is one link's examination.
type check struct {
	name  string
	needs []string // links without which there is nothing to examine
	run   func(context.Context) outcome
}

func (v *visit) checks() []check {
	return []check{
		{linkProxy, nil, v.proxy},
		{linkTraceID, []string{linkProxy}, v.traceID},
		{linkTempo, nil, v.tempoReady},
		{linkHeader, []string{linkTraceID, linkTempo}, v.header},
		{linkSpans, []string{linkTraceID, linkTempo}, v.spans},
		{linkSearch, []string{linkTraceID, linkTempo}, v.search},
		{linkMetrics, []string{linkTraceID, linkTempo}, v.spanMetrics},
		{linkExemplar, []string{linkTraceID}, v.exemplar},
		{linkLog, []string{linkTraceID}, v.logLine},
		{linkGrafana, nil, v.grafana},
		{linkDataSources, []string{linkGrafana}, v.dataSources},
		{linkTraceLink, []string{linkTraceID}, v.traceLink},
	}
}

// Names returns the links' names in order.
func Names() []string {
	var names []string
	for _, c := range (&visit{}).checks() {
		names = append(names, c.name)
	}
	return names
}

// visit is one examination under way.
type visit struct {
	o       Options
	http    *http.Client
	backend *tempo.Client
	now     string // the link that is examined
	began   time.Time
	states  map[string]State

	before         numbers // of Prometheus, before the request
	sent, answered time.Time
	response       response
	id             string       // of the trace
	trace          *tempo.Trace // as far as it has arrived; nil for nothing at all
	down           map[string]bool
}

// Run sends one request and follows it. A broken link is no error; that the context ended is one, and so is an Options
// without an address. The report then has what was found out until then.
func Run(ctx context.Context, o Options) (Report, error) {
	v := &visit{o: o, states: map[string]State{}, down: map[string]bool{}}
	report := Report{Stack: o.Stack}
	if o.Gateway == "" || o.Tempo == "" {
		return report, errors.New("a stack to examine has a proxy and a Tempo: give both addresses")
	}
	// Not the environment's proxy: the parts are on this machine, or where the flags say.
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil
	if o.dial != nil {
		transport.DialContext = o.dial
	}
	defer transport.CloseIdleConnections()
	v.http = &http.Client{
		Transport: transport,
		// A redirect is an answer to judge, mostly one that asks for a login.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	v.backend = &tempo.Client{URL: strings.TrimSuffix(o.Tempo, "/"), HTTP: v.http}

	v.before = v.readNumbers(ctx)
	for _, c := range v.checks() {
		v.now, v.began = c.name, time.Now()
		var out outcome
		if i := slices.IndexFunc(c.needs, func(n string) bool { return v.states[n] != OK }); i >= 0 {
			if out = skipped("needs: " + c.needs[i]); v.states[c.needs[i]] == Absent {
				out = absent("this stack has no " + part(o.Kind, c.needs[i]))
			}
		} else {
			out = c.run(ctx)
		}
		if ctx.Err() != nil {
			return report, fmt.Errorf("stopped at the link %q: %w", c.name, context.Cause(ctx))
		}
		link := Link{Name: c.name, State: out.state, Millis: float64(time.Since(v.began).Microseconds()) / 1000, Detail: out.detail, Causes: out.causes}
		if out.state == Skipped || out.state == Absent {
			link.Millis = 0
		}
		v.states[c.name] = out.state
		if out.state == Broken && report.FirstBroken == "" {
			report.FirstBroken = c.name
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

// wait is until when to wait for what arrives after the answer.
func (v *visit) wait(usual time.Duration) time.Time {
	if v.o.Wait > 0 {
		usual = v.o.Wait
	}
	return v.answered.Add(usual)
}

// within is until when to wait for what has nothing to do with the request, such as a part that is just starting.
func (v *visit) within(usual time.Duration) time.Time {
	if v.o.Wait > 0 {
		usual = min(usual, v.o.Wait)
	}
	return time.Now().Add(usual)
}

// poll asks until done says so, the deadline has passed, or ctx ends, and returns whether it was done. It asks once in any
// case.
func (v *visit) poll(ctx context.Context, deadline time.Time, waitingFor string, done func(context.Context) bool) bool {
	interval := v.o.interval
	if interval == 0 {
		interval = 250 * time.Millisecond
	}
	for {
		if done(ctx) {
			return true
		}
		if ctx.Err() != nil || time.Now().Add(interval).After(deadline) {
			return false
		}
		if v.o.Waiting != nil {
			v.o.Waiting(v.now, waitingFor, time.Since(v.began))
		}
		timer := time.NewTimer(interval)
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
	}
}

// part is what a part of the stack is called there.
func part(kind Kind, name string) string {
	if kind == Local {
		switch name {
		case "proxy":
			return "gateway"
		case "tempo":
			return "collector"
		}
	}
	switch name {
	case "proxy":
		return "traefik"
	case "grafana":
		return "Grafana"
	}
	return name
}

// logs is the command that shows what a part has to say.
func (v *visit) logs(name string) string {
	if v.o.Kind == Local {
		return "read the lines that begin with " + name + " where `go run ./demo` runs"
	}
	return "docker compose logs --tail 20 " + name
}

// restart is the command that brings a part up, with its settings as they are now.
func (v *visit) restart(names ...string) string {
	if v.o.Kind == Local {
		return "Ctrl-C where it runs, then: go run ./demo"
	}
	return "docker compose up -d " + strings.Join(names, " ")
}

// change is what to do about a setting.
func (v *visit) change(what string, names ...string) string {
	if v.o.Kind == Local {
		return what + ", then start it again: go run ./demo"
	}
	return what + ", then: docker compose up -d " + strings.Join(names, " ")
}
