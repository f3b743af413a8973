package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"example.com/grafana-tempo-go-demo/demo/discover"
	"example.com/grafana-tempo-go-demo/demo/explorer"
	"example.com/grafana-tempo-go-demo/demo/lab"
	"example.com/grafana-tempo-go-demo/demo/stack"
	"example.com/grafana-tempo-go-demo/demo/term"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

var upCommand = command{
	name:    "up",
	summary: "start everything, print every address, run until Ctrl-C (the default)",
	about: `Starts everything, prints every address, and runs until Ctrl-C; a second Ctrl-C kills at once.
An address whose port is taken moves to a free one, unless it was given: then it is an error.`,
	declare: declareUp,
}

func declareUp(fs *flag.FlagSet) action {
	addrs := map[string]*string{} // by part
	for _, p := range topology.Parts() {
		addrs[p.Name] = fs.String(p.Name+"-addr", p.Addr, "`host:port` of "+p.About)
	}
	asJSON := fs.Bool("json", false,
		"when all is ready, print the addresses as one line of JSON; logs go to standard error")
	level := logLevel(fs)
	var faults []string
	for _, f := range lab.Faults() {
		faults = append(faults, f.Name)
	}
	fault := choice(fs, "break", "", "break the telemetry on purpose, by a `fault` of the list below", faults...)
	propagators := map[string]string{}
	fs.Func("propagators", "`part=list` of the formats that a part reads and writes, such as uservice4=tracecontext,jaeger,"+
		" where the\nothers have jaeger; parts are gateway, uservice3 and uservice4; the flag may be given for each",
		func(s string) error {
			part, list, ok := strings.Cut(s, "=")
			if !ok || part == "" || list == "" {
				return errors.New("want part=list, such as uservice4=tracecontext,jaeger")
			}
			propagators[part] = list
			return nil
		})
	mocks := declareMocks(fs)
	usage := fs.Usage
	fs.Usage = func() {
		usage()
		fmt.Fprint(fs.Output(),
			"\nFaults for -break; docs/lab.md has them as exercises, and the page can change them at run time:\n")
		for _, f := range lab.Faults() {
			fmt.Fprintf(fs.Output(), "  %-20s %s\n", f.Name, f.Title)
		}
	}
	return func(s session) error {
		env, err := mocks.env()
		if err != nil {
			return err
		}
		o := stack.Options{
			Addrs:       map[string]stack.Addr{},
			Page:        func(p stack.Page) http.Handler { return explorer.New(explorer.Options(p)) },
			Env:         env,
			LogLevel:    *level,
			Break:       *fault,
			Propagators: propagators,
		}
		set := given(fs)
		for _, name := range slices.Sorted(maps.Keys(addrs)) {
			if err := stack.CheckAddr(*addrs[name]); err != nil {
				return misused("-%s-addr: %w", name, err)
			}
			o.Addrs[name] = stack.Addr{Value: *addrs[name], Asked: set[name+"-addr"]}
		}
		return runUp(s, o, *asJSON)
	}
}

// runUp starts everything and runs until the session ends.
func runUp(s session, o stack.Options, asJSON bool) error {
	out := s.stdout
	if asJSON { // standard output is for the one line
		out = s.stderr
	}
	o.Logs, o.Messages = out, out
	running, err := stack.Start(s.ctx, o)
	if err != nil {
		return err
	}
	if asJSON {
		err = json.NewEncoder(s.stdout).Encode(running.URLs())
	} else {
		_, err = fmt.Fprintf(out, "\nEverything is ready:\n%s  6. Stop it all:            Ctrl-C\n\n", describe(running.URLs()))
	}
	if f, ok := lab.Named(o.Break); ok && err == nil {
		_, err = fmt.Fprintf(out, "The telemetry is broken on purpose (%s): %s.\n%s\n", f.Name, f.Title,
			term.Hang("", "What you see then: "+f.Symptom, term.Width(out)))
	}
	if err != nil {
		err = fmt.Errorf("print the addresses: %w", err)
	}

	problems := []error{err}
	for err == nil && s.ctx.Err() == nil {
		select {
		case <-s.ctx.Done():
		case d := <-running.Deaths():
			fmt.Fprintf(s.stderr, "demo: %s ended by itself (%s); the rest goes on\n", d.Part, d.How)
			problems = append(problems, fmt.Errorf("%s ended by itself: %s", d.Part, d.How))
		}
	}
	if cause := context.Cause(s.ctx); cause != nil {
		fmt.Fprintf(out, "\n%v: stopping; Ctrl-C again kills at once\n", cause)
	}
	problems = append(problems, running.Stop(s.kill))
	err = errors.Join(problems...)
	if err == nil {
		fmt.Fprintln(out, "stopped; nothing is left behind")
	}
	return err
}

// describe lists every address of a run, and what to do next, for people.
func describe(u discover.URLs) string {
	port := ""
	if g, err := url.Parse(u.Gateway); err == nil && g.Port() != "80" {
		port = ":" + g.Port()
	}
	about := map[string]string{}
	for _, s := range topology.Services() {
		about[s.Name] = "plain"
		if s.Instrumented {
			about[s.Name] = "instrumented"
		}
		if s.Upstream != "" {
			about[s.Name] += "; calls " + s.Upstream
		}
	}
	var b strings.Builder
	row := func(what, url, about string) { fmt.Fprintf(&b, "  %-10s %-38s %s\n", what, url, about) }
	for _, name := range slices.Sorted(maps.Keys(u.Services)) {
		row(name, "http://"+topology.Host(name)+port+"/", about[name]+"; past the gateway: "+u.Services[name])
	}
	row("gateway", u.Gateway, "routes by host name and starts each trace")
	row("explorer", u.Explorer, "the page: calls, traces, the header's way, faults")
	row("tempo", u.Tempo, "the collector speaks Tempo's HTTP API here")
	row("otlp", u.OTLPGRPC+" "+strings.TrimPrefix(u.OTLPHTTP, "http://"), "gRPC and HTTP, for programs of your own")
	for _, name := range slices.Sorted(maps.Keys(u.Metrics)) {
		row("metrics", u.Metrics[name], name+"'s, as Prometheus fetches them")
	}
	fmt.Fprintf(&b, `
What next:
  1. Open http://uservice1.localhost%[1]s/ in a browser. It takes a second or two, and nothing says why.
  2. Open http://uservice3.localhost%[1]s/ and follow the link to its trace: there is the why.
  3. The same with curl:     curl -i -H 'Host: uservice3.localhost' %[2]s/
  4. Let something fail:     http://uservice3.localhost%[1]s/?fail=database
     or take long:           http://uservice3.localhost%[1]s/?slow=redis
  5. Break the telemetry:    %[3]s has the faults; docs/lab.md makes exercises of them
`, port, u.Gateway, u.Explorer)
	return b.String()
}
