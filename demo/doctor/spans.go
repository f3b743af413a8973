package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"example.com/grafana-tempo-go-demo/demo/ledger"
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
			inPlace := e.parent < 0 && s.ParentID == "" || e.parent >= 0 && found[e.parent] != nil && s.ParentID == found[e.parent].SpanID
			if found[i] == nil && s.Name == e.name && (s.Service == e.service || !isOurs(s.Service) && inPlace) {
				found[i] = s
			}
		}
	}
	return found
}

func isOurs(name string) bool {
	return slices.ContainsFunc(topology.Services(), func(s topology.Service) bool { return s.Name == name })
}

// foreign returns the spans of programs that the demo does not know, and the programs' names.
func (v *visit) foreign(found []*tempo.Span) (spans []*tempo.Span, services []string) {
	for _, s := range v.trace.Spans {
		if !slices.Contains(found, s) && !isOurs(s.Service) && s.Service != v.o.name(topology.Gateway) {
			spans, services = append(spans, s), append(services, s.Service)
		}
	}
	slices.Sort(services)
	return spans, slices.Compact(services)
}

// errorOrigin is the span in which the error of an answer began, and a clause that says so.
func (v *visit) errorOrigin() (origin *tempo.Span, clause string) {
	if v.response.status < 500 {
		return nil, ""
	}
	if origin = v.trace.ErrorOrigin(); origin != nil {
		clause = fmt.Sprintf("; the error began in %s of %s: %s", origin.Name, origin.Service, origin.StatusMessage)
		clause = strings.TrimSuffix(clause, ": ")
	}
	return origin, clause
}

// inPlaceOfUservice4 is the span of an unknown program that uservice3 has called; nil for none.
func (v *visit) inPlaceOfUservice4(found []*tempo.Span) *tempo.Span {
	caller := found[uservice3Client]
	if caller == nil || found[uservice4Server] != nil {
		return nil
	}
	foreign, _ := v.foreign(found)
	for _, s := range foreign {
		if s.ParentID == caller.SpanID {
			return s
		}
	}
	return nil
}

// above is the nearest span above another one, apart from the given ones; nil for none.
func (v *visit) above(s *tempo.Span, apart []*tempo.Span) *tempo.Span {
	for range len(apart) + 1 { // spans may form a circle
		i := slices.IndexFunc(v.trace.Spans, func(p *tempo.Span) bool { return p.SpanID == s.ParentID })
		if i < 0 {
			return nil
		}
		if s = v.trace.Spans[i]; !slices.Contains(apart, s) {
			break
		}
	}
	return s
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

const needsServed = "needs: the span of uservice3"

// spans compares the trace with the spans that it should have.
func (v *visit) spans(ctx context.Context) outcome {
	if v.states[linkHeader] == Broken {
		return skipped("needs: " + linkHeader)
	}
	if err := v.fetch(ctx); err != nil {
		return broken(err.Error(), "in trouble").yet()
	}
	want, found := v.expected(), v.match()
	var lacking, senders, names []string
	first := 0 // that is missing
	madeUp := false
	for i, e := range want {
		if found[i] == nil {
			if len(lacking) == 0 {
				first = i
			}
			lacking, senders = append(lacking, e.String()), append(senders, e.service)
		} else if i >= uservice3Server && found[i].Service != e.service {
			names = append(names, fmt.Sprintf("%s of %s is by %q", e.name, e.service, found[i].Service))
			madeUp = madeUp || strings.HasPrefix(found[i].Service, "unknown_service")
		}
	}
	senders = slices.Compact(senders)
	wrong := v.misplaced(found)
	switch {
	case len(lacking) == len(want):
		return missing(fmt.Sprintf("none of %d has arrived", len(want)), v.notSent(senders...))
	case len(lacking) > 0:
		detail := fmt.Sprintf("%d of %d missing: %s", len(lacking), len(want), strings.Join(lacking, ", "))
		return v.notMade(detail, found, first, senders)
	case madeUp:
		return broken(strings.Join(names, "; "), "no service name")
	case len(names) > 0:
		return broken(strings.Join(names, "; "), "another service name")
	case len(wrong) > 0:
		return broken("all there, and not as they should be: "+strings.Join(wrong, "; "), "instrumentation changed")
	}
	_, also := v.errorOrigin()
	if more, services := v.foreign(found); len(more) > 0 {
		also = fmt.Sprintf("; and %d of %s", len(more), strings.Join(services, ", ")) + also
	}
	return fine("all %d, of %s, uservice3 and uservice4, each below its parent%s", len(want), found[0].Service, also)
}

// misplaced says which spans are of the wrong kind or in the wrong place. A program that the demo
// does not know may stand between two that it knows.
func (v *visit) misplaced(found []*tempo.Span) (wrong []string) {
	want := v.expected()
	if v.trace == nil {
		return nil
	}
	foreign, _ := v.foreign(found)
	for i, e := range want {
		s := found[i]
		if s == nil {
			continue
		}
		if s.Kind != e.kind {
			wrong = append(wrong, fmt.Sprintf("%s is of kind %s, not %s", e, s.Kind, e.kind))
		}
		if e.parent < 0 && s.ParentID != "" {
			wrong = append(wrong, fmt.Sprintf("%s has a parent", e))
		}
		if e.parent >= 0 && found[e.parent] != nil && v.above(s, foreign) != found[e.parent] {
			wrong = append(wrong, fmt.Sprintf("%s is not below %s", e, want[e.parent]))
		}
	}
	return wrong
}

// notMade judges missing spans that may never have been made: a call before them failed, or another
// program took it. First is the first of them.
func (v *visit) notMade(detail string, found []*tempo.Span, first int, senders []string) outcome {
	origin, began := v.errorOrigin()
	index := slices.Index(found, origin)
	about := struct{ Span, Service, Sender, Other string }{Sender: strings.Join(senders, " and ")}
	answered := index == uservice3Client && !unanswered(origin) // then uservice4 knows where it began
	if index >= uservice3Server && index < first && !answered {
		about.Span, about.Service = origin.Name, origin.Service
		detail += began
		if index != uservice3Client {
			return broken(detail, "failed before").with(about).yet()
		}
		out := broken(detail, "did not answer").with(about)
		out.retry = v.response.status != http.StatusBadGateway // who was too slow may still send them
		return out
	}
	if s := v.inPlaceOfUservice4(found); s != nil {
		about.Other = s.Service
		return broken(detail+fmt.Sprintf("; %s of %s is there instead", s.Name, s.Service), "another program").with(about).yet()
	}
	return missing(detail, v.notSent(senders...))
}

// notSent tells why spans of these processes do not arrive.
func (v *visit) notSent(senders ...string) judge {
	return func(ctx context.Context, detail string) outcome {
		seen := true // all have taken part in the trace
		for _, sender := range senders {
			own := v.logged(ctx, sender)
			seen = seen && own.seen
			switch {
			case own.Vain != "":
				return broken(detail, "endpoint in vain").with(struct{ Sender, Endpoint string }{sender, own.Vain})
			case own.Started.After(v.sent):
				return broken(detail, "restarted").with(sender)
			}
		}
		who := strings.Join(senders, " ")
		if len(senders) == 3 {
			return v.noneSent(ctx, detail, who)
		}
		if who == v.o.name(topology.Gateway) { // it has sent the header, so it traces
			return broken(detail, "wrong endpoint", "killed too early").with(who)
		}
		if seen { // tracing is on
			return broken(detail, "wrong endpoint", "killed too early", "exporter off").with(who)
		}
		return broken(detail, "wrong endpoint", "no export", "killed too early").with(who)
	}
}

// noneSent tells why no span arrives at all.
func (v *visit) noneSent(ctx context.Context, detail, who string) outcome {
	if v.o.override == "" {
		return broken(detail, "sent elsewhere", "exporter off", "tempo drops").with(who)
	}
	if dropped, _ := v.number(ctx, unsampledQuery); dropped > 0 {
		return broken(detail, "sampled away", "sent elsewhere", "exporter off").with(who)
	}
	return broken(detail, "sent elsewhere", "exporter off").with(who)
}

// evidence is what the log of a service says, of its telemetry and of the trace.
type evidence struct {
	ledger.Telemetry
	seen bool // it has taken part in the trace
}

// logged asks the hop ledger, which reads the logs of a run without Docker, or Loki.
func (v *visit) logged(ctx context.Context, service string) (e evidence) {
	if v.o.Kind == Local {
		answer := v.ledger(ctx)
		hop := v.hopTo(answer, service)
		return evidence{answer.Services[service], hop != nil && hop.TraceID == v.id}
	}
	ask := func(query string, before time.Duration) []gjson.Result {
		lines, _ := v.lines(ctx, fmt.Sprintf(`{service_name=%q}`, service)+query, before)
		return lines
	}
	// Our services log it themselves, once a minute, and log lines take another way.
	if lines := ask(` | what="spans" |= "does not reach the back end"`, 5*time.Minute); len(lines) > 0 {
		e.Vain = lines[0].Get("endpoint").String()
	}
	if len(ask(` |= "listening"`, 0)) > 0 {
		e.Started = time.Now()
	}
	e.seen = len(ask(fmt.Sprintf(` | trace_id=%q`, v.id), 0)) > 0
	return e
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
		return fine("found by service and time, %.1f s after the answer%s", since, v.others(ctx))
	case err != nil:
		return broken(err.Error(), "in trouble").yet()
	case len(list) >= searchLimit:
		return broken(fmt.Sprintf("not among the first %d traces of uservice3", len(list)), "too much traffic to search").yet()
	}
	return missing(fmt.Sprintf("known by its id, not found by service and time in %.0f s", since), v.notSearchable)
}

// others names programs that the demo does not know, of which traces have arrived lately.
func (v *visit) others(ctx context.Context) string {
	known := []string{"prober", prometheus, loki, grafana, topology.Tempo, v.o.name(topology.Gateway)}
	var names []string
	answer, _ := v.askJSON(ctx, topology.Tempo, "/api/search", url.Values{"limit": {fmt.Sprint(searchLimit)},
		"start": {fmt.Sprint(v.sent.Add(-10 * time.Minute).Unix())}, "end": {fmt.Sprint(time.Now().Unix() + 1)}})
	for _, root := range answer.Get("traces.#.rootServiceName").Array() {
		name := root.String()
		// Tempo writes "<root span not yet received>", the SDK unknown_service.
		if isOurs(name) || slices.Contains(known, name) || strings.HasPrefix(name, "<") || strings.HasPrefix(name, "unknown_service") {
			continue
		}
		names = append(names, name)
	}
	slices.Sort(names)
	if names = slices.Compact(names); len(names) == 0 || names[0] == "" {
		return ""
	}
	return "; in the last 10 minutes there are traces of " + strings.Join(names, ", ") + ", too"
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
