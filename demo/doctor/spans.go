package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/story"
	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// expected is a span that every request of the instrumented pair has.
type expected struct {
	service, name string
	parent        int // index; -1 for none
}

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
		{proxy, "GET", -1},
		{proxy, "ReverseProxy", proxyServer},
		{topology.Uservice3, "handle_incoming_call", proxyClient},
		{topology.Uservice3, "redis_call", uservice3Server},
		{topology.Uservice3, "other_uservice_call", uservice3Server},
		{topology.Uservice4, "handle_incoming_call", uservice3Client},
		{topology.Uservice4, "database_call", uservice4Server},
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

// foreign are the services of spans by programs that the demo does not know, a name for each span.
func (v *visit) foreign(found []*tempo.Span) (services []string) {
	for _, s := range v.trace.Spans {
		if !slices.Contains(found, s) && !isOurs(s.Service) && s.Service != v.o.name(topology.Gateway) {
			services = append(services, s.Service)
		}
	}
	slices.Sort(services)
	return services
}

// errorOrigin is the span in which the error of an answer began, and a clause that says so.
func (v *visit) errorOrigin() (origin *tempo.Span, clause string) {
	if v.response.status < 500 {
		return nil, ""
	}
	if origin = story.ErrorOrigin(v.trace); origin != nil {
		clause = fmt.Sprintf("; the error began in %s of %s: %s", origin.Name, origin.Service, origin.StatusMessage)
		clause = strings.TrimSuffix(clause, ": ")
	}
	return origin, clause
}

// getTrace asks for a trace by its id.
func (v *visit) getTrace(ctx context.Context, id string) (*tempo.Trace, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return v.backend.Trace(ctx, id)
}

const searchLimit = 200 // traces

// find searches for traces since some time up to now, and returns their ids.
func (v *visit) find(ctx context.Context, tags string, since time.Time) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return v.backend.Search(ctx, url.Values{"tags": {tags}, "limit": {fmt.Sprint(searchLimit)},
		"start": {fmt.Sprint(since.Unix() - 2)}, "end": {fmt.Sprint(time.Now().Unix() + 2)}})
}

// findTraces searches likewise, and returns what can be read of the traces.
func (v *visit) findTraces(ctx context.Context, tags string, since time.Time) (traces []*tempo.Trace, err error) {
	ids, err := v.find(ctx, tags, since)
	for _, id := range ids {
		if t, err := v.getTrace(ctx, id); err == nil {
			traces = append(traces, t)
		}
	}
	return traces, err
}

// fetch gets what there is of the trace. Less than before is not taken: Tempo may be moving it. An
// error says why nothing of it is known.
func (v *visit) fetch(ctx context.Context) error {
	t, err := v.getTrace(ctx, v.id)
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
	var lacking, senders, others []string
	named := true
	for i, e := range want {
		switch s := found[i]; {
		case s == nil:
			lacking, senders = append(lacking, e.service+" "+e.name), append(senders, e.service)
		case i >= uservice3Server && s.Service != e.service:
			others = append(others, fmt.Sprintf("%s of %s is by %q", e.name, e.service, s.Service))
			named = named && !strings.HasPrefix(s.Service, "unknown_service")
		}
	}
	senders = slices.Compact(senders)
	switch {
	case len(lacking) == len(want):
		return missing(fmt.Sprintf("none of %d has arrived", len(want)), v.notSent(senders))
	case len(lacking) > 0:
		detail := fmt.Sprintf("%d of %d missing: %s", len(lacking), len(want), strings.Join(lacking, ", "))
		return v.notMade(detail, found, senders)
	case !named:
		return broken(strings.Join(others, "; "), "no service name")
	case len(others) > 0:
		return broken(strings.Join(others, "; "), "another service name")
	}
	_, also := v.errorOrigin()
	if services := v.foreign(found); len(services) > 0 {
		also = fmt.Sprintf("; and %d of %s", len(services), strings.Join(slices.Compact(services), ", ")) + also
	}
	return fine("all %d, of %s, uservice3 and uservice4%s", len(want), found[0].Service, also)
}

// notMade judges missing spans that may never have been made: a call before them failed, or another
// program took it.
func (v *visit) notMade(detail string, found []*tempo.Span, senders []string) outcome {
	origin, began := v.errorOrigin()
	index := slices.Index(found, origin)
	_, answered := answer(origin) // then uservice4 knows where it began
	if index >= uservice3Server && index < slices.Index(found, nil) && !answered {
		out := broken(detail+began, "failed before")
		if index == uservice3Client {
			out = broken(detail+began, "did not answer")
		}
		out.retry = v.response.status != http.StatusBadGateway // who was too slow may still send them
		return out
	}
	if services := v.foreign(found); len(services) > 0 && found[uservice4Server] == nil {
		detail += "; there are spans of " + strings.Join(slices.Compact(services), ", ")
		return broken(detail, "another program").yet()
	}
	return missing(detail, v.notSent(senders))
}

// notSent tells why spans of these processes do not arrive.
func (v *visit) notSent(senders []string) judge {
	return func(ctx context.Context, detail string) outcome {
		for _, sender := range senders {
			switch own := v.logged(ctx, sender); {
			case own.Vain != "":
				return broken(detail, "endpoint in vain").with(struct{ Sender, Endpoint string }{sender, own.Vain})
			case own.Started.After(v.sent):
				return broken(detail, "restarted").with(sender)
			}
		}
		out := broken(detail, "wrong endpoint", "killed too early", "exporter off")
		dropped, _ := v.number(ctx, unsampledQuery)
		switch {
		case len(senders) == 3 && v.states[linkPipeline] == Skipped:
			out = broken(detail, "pipeline not known", "wrong endpoint", "exporter off")
		case len(senders) == 3 && dropped > 0:
			out = broken(detail, "sampled away", "wrong endpoint", "exporter off")
		case len(senders) == 3:
			out = broken(detail, "wrong endpoint", "exporter off", "tempo drops")
		case slices.Equal(senders, []string{v.o.name(topology.Gateway)}): // it has sent the header, so it traces
			out = broken(detail, "wrong endpoint", "killed too early")
		}
		return out.with(strings.Join(senders, " "))
	}
}

// logged is what the log of a service says of its telemetry. The hop ledger reads the logs of a run
// without Docker; else Loki has them, which take another way than spans.
func (v *visit) logged(ctx context.Context, service string) (own ledger.Telemetry) {
	if v.o.Kind == Local {
		return v.ledger(ctx).Services[service]
	}
	// Our services say so once a minute.
	lines, _ := v.lines(ctx, service, ` | what="spans" |= "does not reach the back end"`, 5*time.Minute)
	if len(lines) > 0 {
		own.Vain = lines[0].Get("endpoint").String()
	}
	if lines, _ = v.lines(ctx, service, ` |= "listening"`, 0); len(lines) > 0 {
		own.Started = time.Now()
	}
	return own
}

// search looks for the trace as somebody would who does not know its id.
func (v *visit) search(ctx context.Context) outcome {
	if !v.served(ctx) {
		return skipped(needsServed)
	}
	list, err := v.find(ctx, "service.name="+topology.Uservice3, v.sent)
	since := time.Since(v.answered).Seconds()
	detail := fmt.Sprintf("known by its id, not found by service and time in %.0f s", since)
	switch {
	case slices.Contains(list, v.id):
		return fine("found by service and time, %.1f s after the answer%s", since, v.others(ctx))
	case err != nil:
		return broken(err.Error(), "in trouble").yet()
	case len(list) >= searchLimit:
		return broken(fmt.Sprintf("not among the first %d traces of uservice3", len(list)), "too much traffic to search").yet()
	case v.o.Kind == Local:
		return broken(detail, "in trouble").yet()
	}
	return broken(detail, "not written", "held back", "newest left out", "clocks differ").yet()
}

// others names programs that the demo does not know, of which traces have arrived lately.
func (v *visit) others(ctx context.Context) string {
	known := []string{"", "prober", prometheus, loki, grafana, topology.Tempo, v.o.name(topology.Gateway)}
	var names []string
	answer, _ := v.askJSON(ctx, topology.Tempo, "/api/search", url.Values{"limit": {fmt.Sprint(searchLimit)},
		"start": {fmt.Sprint(v.sent.Add(-10 * time.Minute).Unix())}, "end": {fmt.Sprint(time.Now().Unix() + 1)}})
	for _, root := range answer.Get("traces.#.rootServiceName").Array() {
		name := root.String()
		// Tempo writes "<root span not yet received>", the SDK unknown_service.
		if !isOurs(name) && !slices.Contains(known, name) && name[0] != '<' && !strings.HasPrefix(name, "unknown_service") {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	return "; in the last 10 minutes there are traces of " + strings.Join(slices.Compact(names), ", ") + ", too"
}
