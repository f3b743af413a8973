package doctor

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// expected is a span that every request of the instrumented pair has.
type expected struct {
	service, name, kind string
	parent              int // index; -1 for none
}

func (e expected) String() string { return e.service + " " + e.name }

// The expected spans that are looked at one by one.
const (
	proxyServer     = 0
	proxyClient     = 1
	uservice3Server = 2
	uservice3Client = 4
	uservice4Server = 5
)

// expected are all of them. The service of the proxy's own spans is the proxy's name.
func (v *visit) expected() []expected {
	proxy := v.o.name(topology.Gateway)
	return []expected{
		{proxy, "GET", "server", -1},
		{proxy, "ReverseProxy", "client", proxyServer},
		{topology.Uservice3, "handle_incoming_call", "server", proxyClient},
		{topology.Uservice3, "redis_call", "client", uservice3Server},
		{topology.Uservice3, "other_uservice_call", "client", uservice3Server},
		{topology.Uservice4, "handle_incoming_call", "server", uservice3Client},
		{topology.Uservice4, "database_call", "client", uservice4Server},
	}
}

// match finds the expected spans; what has not arrived is nil. The proxy may have any name. A
// service of ours that does not say its name is known by its spans' place in the tree.
func (v *visit) match() []*tempo.Span {
	want := v.expected()
	found := make([]*tempo.Span, len(want))
	if v.trace == nil {
		return found
	}
	for i, e := range want {
		for _, s := range v.trace.Spans {
			named := strings.HasPrefix(s.Service, "uservice")
			inPlace := i < uservice3Server || found[e.parent] != nil && s.ParentID == found[e.parent].SpanID
			if found[i] == nil && s.Name == e.name && (s.Service == e.service || !named && inPlace) {
				found[i] = s
			}
		}
	}
	return found
}

// fetch gets what there is of the trace. Less than before is not taken: Tempo may be moving it. An
// error says why nothing of it is known.
func (v *visit) fetch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	t, err := v.backend.Trace(ctx, v.id)
	if err == nil && (v.trace == nil || len(t.Spans) >= len(v.trace.Spans)) {
		v.trace = t
	}
	if v.trace != nil || errors.Is(err, tempo.ErrNotFound) {
		return nil
	}
	return err
}

// served reports whether uservice3's span has arrived: without it nothing is made of it.
func (v *visit) served(ctx context.Context) bool {
	if v.states[linkSpans] != OK {
		_ = v.fetch(ctx) // nobody has waited for the rest of the trace
	}
	return v.match()[uservice3Server] != nil
}

const needsServed = "needs: " + linkSpans + " (the one of uservice3)"

// spans compares the trace with the spans that it should have.
func (v *visit) spans(ctx context.Context) outcome {
	if v.states[linkHeader] == Broken {
		return skipped("needs: " + linkHeader)
	}
	err := v.fetch(ctx)
	want, found := v.expected(), v.match()
	if err != nil {
		return broken(err.Error(), "in trouble").yet()
	}
	var lacking, senders, wrong []string
	unnamed := false
	for i, e := range want {
		s := found[i]
		if s == nil {
			lacking = append(lacking, e.String())
			senders = append(senders, e.service)
			continue
		}
		if i >= uservice3Server && s.Service != e.service {
			unnamed = true
			wrong = append(wrong, fmt.Sprintf("%s is by %q, not %s", e.name, s.Service, e.service))
		}
		if s.Kind != e.kind {
			wrong = append(wrong, fmt.Sprintf("%s is of kind %s, not %s", e, s.Kind, e.kind))
		}
		if e.parent < 0 && s.ParentID != "" {
			wrong = append(wrong, fmt.Sprintf("%s has a parent", e))
		}
		if e.parent >= 0 && found[e.parent] != nil && s.ParentID != found[e.parent].SpanID {
			wrong = append(wrong, fmt.Sprintf("%s is not below %s", e, want[e.parent]))
		}
	}
	switch {
	case len(lacking) == len(want):
		return missing(fmt.Sprintf("none of %d has arrived", len(want)), v.notSent(slices.Compact(senders)...))
	case len(lacking) > 0:
		return missing(fmt.Sprintf("%d of %d missing: %s", len(lacking), len(want), strings.Join(lacking, ", ")),
			v.notSent(slices.Compact(senders)...))
	case unnamed:
		return broken(strings.Join(wrong, "; "), "no service name")
	case len(wrong) > 0:
		return broken("all there, and not as they should be: "+strings.Join(wrong, "; "), "instrumentation changed")
	}
	return fine("all %d, of %s, uservice3 and uservice4, each below its parent", len(want), found[0].Service)
}

// notSent tells why spans of these processes do not arrive.
func (v *visit) notSent(senders ...string) judge {
	return func(ctx context.Context, detail string) outcome {
		for _, sender := range senders {
			// Our services log it themselves, once a minute, and log lines take another way.
			const query = `{service_name=%q} | what="spans" |= "does not reach the back end"`
			if lines, _ := v.lines(ctx, fmt.Sprintf(query, sender), 5*time.Minute); len(lines) > 0 {
				return broken(detail, "endpoint in vain").with(struct{ Sender, Endpoint string }{sender, lines[0].Get("endpoint").String()})
			}
		}
		who := strings.Join(senders, " ")
		if len(senders) == 3 {
			return broken(detail, "sent elsewhere", "exporter off", "tempo drops").with(who)
		}
		return broken(detail, "wrong endpoint", "no export", "killed too early").with(who)
	}
}

const searchLimit = 200 // traces

// search looks for the trace as somebody would who does not know its id.
func (v *visit) search(ctx context.Context) outcome {
	if !v.served(ctx) {
		return skipped(needsServed)
	}
	ask, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	list, err := v.backend.Search(ask, tempo.Query{Tags: "service.name=" + topology.Uservice3,
		Limit: searchLimit, Start: v.sent.Add(-2 * time.Second), End: time.Now().Add(time.Second)})
	since := time.Since(v.answered).Seconds()
	switch {
	case slices.Contains(list, v.id):
		return fine("found by service and time, %.1f s after the answer", since)
	case err != nil:
		return broken(err.Error(), "in trouble").yet()
	case len(list) >= searchLimit:
		return broken(fmt.Sprintf("not among the first %d traces of uservice3", len(list)), "too much traffic to search").yet()
	}
	return missing(fmt.Sprintf("known by its id, not found by service and time in %.0f s", since), v.notSearchable)
}

// notSearchable tells why a search does not find the trace.
func (v *visit) notSearchable(ctx context.Context, detail string) outcome {
	if v.o.Kind == Local {
		return broken(detail, "collector in trouble")
	}
	config, _ := v.ask(ctx, topology.Tempo, "/status/config", nil)
	cutoff := endCutoff.FindSubmatch(config.body)
	switch {
	case cutoff == nil:
		return broken(detail, "newest left out", "held back", "not written", "clocks differ")
	case string(cutoff[1]) == "0s":
		return broken(detail, "not written", "held back", "clocks differ")
	}
	return broken(detail, "newest left out").with(string(cutoff[1]))
}

// endCutoff finds how much of the present searches leave out, in Tempo's settings: text around YAML.
var endCutoff = regexp.MustCompile(`(?m)^\s*query_end_cutoff:\s*(\S+)`)
