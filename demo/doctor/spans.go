package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/header"
	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/story"
	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// The spans that are looked at one by one.
const (
	served3 = "uservice3 handle_incoming_call"
	calls4  = "uservice3 other_uservice_call"
	served4 = "uservice4 handle_incoming_call"
)

// expected are the spans that every request of the instrumented pair has: the service and the name.
func (e *examination) expected() []string {
	proxy := e.o.name(topology.Gateway)
	return []string{proxy + " GET", proxy + " ReverseProxy", served3, "uservice3 redis_call", calls4,
		served4, "uservice4 database_call"}
}

// match finds the expected spans in what has arrived. A span whose service is none of ours stands for the
// first of its name that is not found by its service.
func (e *examination) match() map[string]*tempo.Span {
	found, used := map[string]*tempo.Span{}, map[*tempo.Span]bool{}
	if e.trace == nil {
		return found
	}
	for _, exact := range []bool{true, false} {
		for _, want := range e.expected() {
			service, name, _ := strings.Cut(want, " ")
			for _, s := range e.trace.Spans {
				if found[want] == nil && !used[s] && s.Name == name && (s.Service == service || !exact && !isOurs(s.Service)) {
					found[want], used[s] = s, true
				}
			}
		}
	}
	return found
}

func isOurs(name string) bool {
	return slices.ContainsFunc(topology.Services(), func(s topology.Service) bool { return s.Name == name })
}

// answeredIn is the trace that the answer to a call names, in its header traceresponse.
func answeredIn(call *tempo.Span) (traceID string) {
	if call != nil {
		for _, event := range call.Events {
			value, _ := event.Attributes["traceresponse"].(string)
			traceID = cmp.Or(traceID, header.Decode(header.TraceResponse, value).TraceID)
		}
	}
	return traceID
}

// find searches for traces since some time up to now, and returns their ids.
func (e *examination) find(ctx context.Context, tags string, since time.Time) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return e.backend.Search(ctx, url.Values{"tags": {tags}, "limit": {"200"},
		"start": {fmt.Sprint(since.Unix() - 2)}, "end": {fmt.Sprint(time.Now().Unix() + 2)}})
}

// fetch gets what there is of the trace. Less than before is not taken: Tempo may be moving it. An
// error says why nothing of it is known.
func (e *examination) fetch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	t, err := e.backend.Trace(ctx, e.id)
	if err == nil && (e.trace == nil || len(t.Spans) >= len(e.trace.Spans)) {
		e.trace = t
	}
	if e.trace != nil || errors.Is(err, tempo.ErrNotFound) {
		return nil
	}
	return err
}

// needsServed3 skips a check if uservice3's span has not arrived: without it nothing is made of it.
func (e *examination) needsServed3(ctx context.Context) (out outcome, needed bool) {
	_ = e.fetch(ctx)
	out = skipped("needs: the span of uservice3")
	out.retry = e.states[linkSpans] == Skipped // nobody has waited for it
	return out, e.match()[served3] == nil
}

// spans compares the trace with the spans that it should have.
func (e *examination) spans(ctx context.Context) outcome {
	if e.states[linkHeader] == Broken {
		return skipped("needs: " + linkHeader)
	}
	if err := e.fetch(ctx); err != nil {
		return broken(err.Error(), "in trouble").yet()
	}
	want, found := e.expected(), e.match()
	proxy := e.o.name(topology.Gateway)
	var lacking, senders, misnamed, foreign []string
	for _, w := range want {
		service, name, _ := strings.Cut(w, " ")
		switch s := found[w]; {
		case s == nil:
			lacking, senders = append(lacking, w), append(senders, service)
		case s.Service != service && service != proxy: // who may have any name
			misnamed = append(misnamed, fmt.Sprintf("%s of %s is by %q", name, service, s.Service))
		}
	}
	senders = slices.Compact(senders)
	if len(lacking) == len(want) {
		return e.notSent(ctx, fmt.Sprintf("none of %d has arrived", len(want)), senders)
	}
	for _, s := range e.trace.Spans {
		if !isOurs(s.Service) && s.Service != proxy && !slices.Contains(slices.Collect(maps.Values(found)), s) {
			foreign = append(foreign, s.Service)
		}
	}
	slices.Sort(foreign)
	others := strings.Join(slices.Compact(slices.Clone(foreign)), ", ")
	detail := fmt.Sprintf("%d of %d missing: %s", len(lacking), len(want), strings.Join(lacking, ", "))
	origin, began := e.errorOrigin()
	switch failed := origin != nil && isOurs(origin.Service) && len(lacking) > 0; {
	case failed && found[calls4] == origin:
		// Who was too slow may still send them.
		return outcome{Broken, detail + began, []cause{"did not answer"}, nil, e.response.status != http.StatusBadGateway}
	case failed && found[served4] == nil:
		return broken(detail+began, "failed before")
	case others != "" && found[served4] == nil:
		return broken(detail+"; there are spans of "+others, "another program").yet()
	case len(lacking) > 0:
		return e.notSent(ctx, detail, senders)
	case strings.Contains(strings.Join(misnamed, ""), "unknown_service"):
		return broken(strings.Join(misnamed, "; "), "no service name")
	case len(misnamed) > 0:
		return broken(strings.Join(misnamed, "; "), "another service name")
	case others != "":
		began = fmt.Sprintf("; and %d of %s", len(foreign), others) + began
	}
	return fine("all %d, of %s, uservice3 and uservice4%s", len(want), found[want[0]].Service, began)
}

// errorOrigin is the span in which the error of an answer began, and a clause that says so.
func (e *examination) errorOrigin() (origin *tempo.Span, clause string) {
	if origin = story.ErrorOrigin(e.trace); origin == nil || e.response.status < 500 {
		return nil, ""
	}
	clause = fmt.Sprintf("; the error began in %s of %s: %s", origin.Name, origin.Service, origin.StatusMessage)
	return origin, strings.TrimSuffix(clause, ": ")
}

// notSent tells why spans of these processes do not arrive.
func (e *examination) notSent(ctx context.Context, detail string, senders []string) outcome {
	for _, sender := range senders {
		switch own := e.logged(ctx, sender); {
		case own.Vain != "":
			about := struct{ Sender, Endpoint string }{sender, own.Vain}
			return broken(detail, "endpoint in vain", "store away").yet().with(about)
		case own.Started.After(e.sent):
			return broken(detail, "restarted").yet().with(sender)
		case own.Back.After(e.sent):
			return broken(detail, "store away").yet()
		}
	}
	list := []cause{"wrong endpoint", "store away", "killed too early", "exporter off"}
	switch {
	case e.o.override != "":
		list = []cause{"between", "store away", "wrong endpoint", "exporter off"}
	case len(senders) == 3:
		list = []cause{"wrong endpoint", "store away", "exporter off", "tempo drops"}
	}
	return broken(detail, list...).yet().with(strings.Join(senders, " "))
}

// logged is what the log of a service says of its telemetry. The hop ledger reads the logs of a run
// without Docker; else Loki has them, which take another way than spans.
func (e *examination) logged(ctx context.Context, service string) (own ledger.Telemetry) {
	if e.o.Kind == Local {
		return e.ledger(ctx).Services[service]
	}
	// Our services say so once a minute, and when it is over.
	var last int64
	for _, stream := range e.lines(ctx, service, ` | what="spans" |~ "(does not reach|reaches) the back end"`) {
		line := stream.Get("values.0") // the last one
		if at := line.Get("0").Int(); at > last {
			last, own.Vain, own.Back = at, stream.Get("stream.endpoint").String(), time.Time{}
			if strings.HasPrefix(line.Get("1").String(), "telemetry reaches") {
				own.Vain, own.Back = "", time.Unix(0, at)
			}
		}
	}
	for _, line := range e.lines(ctx, service, ` |= "listening"`) {
		own.Started = time.Unix(0, line.Get("values.0.0").Int()) // the last one
	}
	return own
}

// search looks for the trace as somebody would who does not know its id.
func (e *examination) search(ctx context.Context) outcome {
	if out, needed := e.needsServed3(ctx); needed {
		return out
	}
	list, err := e.find(ctx, "service.name="+topology.Uservice3, e.sent)
	since := time.Since(e.answered).Seconds()
	detail := fmt.Sprintf("known by its id, not among %d found by service and time in %.0f s", len(list), since)
	switch {
	case slices.Contains(list, e.id):
		return fine("found by service and time, %.1f s after the answer", since)
	case err != nil:
		return broken(err.Error(), "in trouble").yet()
	case e.o.Kind == Local:
		return broken(detail, "in trouble").yet()
	}
	return broken(detail, "not written", "held back", "too much to search").yet()
}
