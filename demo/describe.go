package main

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"example.com/grafana-tempo-go-demo/demo/discover"
	"example.com/grafana-tempo-go-demo/demo/explorer"
	"example.com/grafana-tempo-go-demo/demo/stack"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// page is the explorer, for the runner.
func page(p stack.Page) http.Handler {
	return explorer.New(explorer.Options{Tempo: p.Tempo, Gateway: p.Gateway, Ledger: p.Ledger, Faults: p.Faults, Logger: p.Logger})
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
