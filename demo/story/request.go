package story

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"example.com/grafana-tempo-go-demo/demo/header"
	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// IsRelay reports whether a service only passes requests on, or makes them up: a trace that begins
// with it is named for whom it calls.
func IsRelay(service string) bool {
	return slices.Contains([]string{topology.Gateway, "traefik", "prober"}, service)
}

// serviceNamed returns a row of the table of services, or nil.
func serviceNamed(name string) *topology.Service {
	for _, s := range topology.Services() {
		if s.Name == name {
			return &s
		}
	}
	return nil
}

// AskedFor is the service of the demo that was called: who the trace begins with, or behind a
// gateway the host name on its server span. Empty if that is none of them.
func (t *Trace) AskedFor() string {
	name := t.root.Service
	if IsRelay(name) {
		host := topology.HostName(t.entry.text("server.address", "http.host"))
		if name = topology.ServiceOf(host); topology.Host(name) != host {
			return ""
		}
	}
	if serviceNamed(name) == nil {
		return ""
	}
	return name
}

// Query is what the request asked for after its "?". The gateway hides the values; the ledger has
// them. It is not known if nobody has.
func (t *Trace) Query() (query string, known bool) {
	query = t.entry.text("url.query")
	for _, r := range t.requests {
		if slices.ContainsFunc(r.Hops, func(h ledger.Hop) bool { return h.TraceID == t.ID }) {
			query = r.Query
			break
		}
	}
	return query, !strings.Contains(query, "REDACTED")
}

// status is the HTTP status that the client got; 0 if no span says.
func (t *Trace) status() int {
	n, _ := strconv.Atoi(t.Status)
	return n
}

// parts are the traces of a request that was cut, in order; none if it was not, or if nobody knows.
func (t *Trace) parts() []string {
	for _, r := range t.requests {
		if len(r.Traces) > 1 && slices.Contains(r.Traces, t.ID) {
			return r.Traces
		}
	}
	return nil
}

// traceOf is the trace in which a service received the request, this one if it did in more than
// one; empty if that is not known.
func (t *Trace) traceOf(service string) (found string) {
	for _, r := range t.requests {
		for _, h := range r.Hops {
			if h.To != service {
				continue
			}
			id := h.TraceID
			if id == "" && h.TraceResponse != nil {
				id = h.TraceResponse.TraceID
			}
			if id == t.ID {
				return id
			}
			found = cmp.Or(found, id)
		}
	}
	return found
}

// Unsampled reports whether a header said that the trace in which a request began is not recorded.
func Unsampled(r ledger.Request) bool {
	return len(r.Hops) > 0 && unsampled(r.Hops[0].TraceID, []ledger.Request{r})
}

// unsampled reports whether a header said that a trace is not recorded.
func unsampled(id string, requests []ledger.Request) bool {
	return anyHop(requests, func(h ledger.Hop) bool {
		return (h.TraceID == id || h.TraceID == "") && slices.ContainsFunc(slices.Concat(h.Left, h.Arrived),
			func(h header.Header) bool { return h.TraceID == id && h.Unsampled() })
	})
}

func anyHop(requests []ledger.Request, is func(ledger.Hop) bool) bool {
	return slices.ContainsFunc(requests, func(r ledger.Request) bool { return slices.ContainsFunc(r.Hops, is) })
}
