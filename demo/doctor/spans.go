package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/story"
	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// spans judges whether all who took part in the request have sent their spans.
func (e *examination) spans(ctx context.Context) outcome {
	if e.states[linkHeader] == Broken {
		return skipped("needs: " + linkHeader)
	}
	trace, err := e.backend.Trace(ctx, e.id)
	if errors.Is(err, tempo.ErrNotFound) {
		return e.notSent(ctx, "none has arrived", e.o.name(topology.Gateway), topology.Uservice3, topology.Uservice4)
	}
	if err != nil {
		return broken(err.Error(), "other program").yet()
	}
	pair := []string{topology.Uservice3, topology.Uservice4}
	var present, others, missing []string
	proxy := "" // the gateway may have any name
	for _, s := range trace.Spans {
		ours := slices.Contains(pair, s.Service)
		switch {
		case ours && s.ParentID == "":
			return broken(s.Service+" began this trace", "header changed", "formats differ").yet().with(s.Service)
		case s.ParentID == "":
			proxy = s.Service
		case !ours && s.Service != proxy:
			others = append(others, s.Service)
		}
		if !slices.Contains(present, s.Service) {
			present = append(present, s.Service)
		}
	}
	if proxy == "" {
		missing = append(missing, e.o.name(topology.Gateway))
	}
	for _, name := range pair {
		if !slices.Contains(present, name) {
			missing = append(missing, name)
		}
	}
	detail := fmt.Sprintf("%d spans of %s", len(trace.Spans), strings.Join(present, ", "))
	origin := story.ErrorOrigin(trace)
	if origin != nil && e.response.status >= 500 {
		detail += fmt.Sprintf("; the error began in %s of %s: %s", origin.Name, origin.Service, origin.StatusMessage)
	}
	whole := trace.Complete()
	switch {
	case len(missing) == 0 && whole:
		return fine("%s", detail)
	case len(missing) == 0:
		return broken(detail+"; the trace has holes", "not exported", "store away").yet().with(strings.Join(present, " "))
	}
	detail += "; none of " + strings.Join(missing, " and ")
	about := strings.Join(missing, " ")
	var out outcome
	switch {
	case len(others) > 0:
		out = broken(detail, "another name", "not exported").with(about)
	case proxy != "" && origin != nil && origin.Service == topology.Uservice3:
		out = broken(detail, "not called").with(about)
	default:
		return e.notSent(ctx, detail, missing...)
	}
	out.retry = !whole
	return out
}

// notSent tells why spans of these processes do not arrive. The hop ledger of a run without Docker reads
// what their logs say of it; in the compose stack Loki may know.
func (e *examination) notSent(ctx context.Context, detail string, senders ...string) outcome {
	if e.o.Kind == Local {
		services := e.ledger(ctx).Services
		for _, sender := range senders {
			switch own := services[sender]; {
			case own.Vain != "":
				return broken(detail, "endpoint in vain").yet().with(own.Vain)
			case own.Started.After(e.sent):
				return broken(detail, "restarted").yet().with(sender)
			case own.Back.After(e.sent):
				return broken(detail, "store away").yet()
			}
		}
	}
	if endpoint, good, err := e.put(ctx, vain); err == nil && !good {
		return broken(detail, vain.otherwise).yet().with(endpoint)
	}
	return broken(detail, "not exported", "store away").yet().with(strings.Join(senders, " "))
}

// find searches for traces since some time up to now.
func (e *examination) find(ctx context.Context, traceQL string, since time.Time) ([]tempo.Summary, error) {
	return e.backend.Summaries(ctx, url.Values{"q": {traceQL}, "limit": {"200"},
		"start": {fmt.Sprint(since.Unix() - 2)}, "end": {fmt.Sprint(time.Now().Unix() + 2)}})
}

// search looks for the trace as somebody would who does not know its id.
func (e *examination) search(ctx context.Context) outcome {
	list, err := e.find(ctx, fmt.Sprintf("{resource.service.name=%q}", topology.Uservice3), e.sent)
	switch {
	case err != nil:
		return broken(err.Error(), "other program").yet()
	case !slices.ContainsFunc(list, func(s tempo.Summary) bool { return s.ID == e.id }):
		return broken(fmt.Sprintf("known by its id, not among %d found by service and time", len(list)), "held back").yet()
	}
	return fine("found by service and time")
}

// outside calls uservice1, and looks for the spans that the eBPF instrumentation makes of it and of
// uservice2.
func (e *examination) outside(ctx context.Context) outcome {
	if e.plainAsked.IsZero() {
		e.plainAsked = time.Now()
		if _, err := e.call(ctx, topology.Uservice1); err != nil {
			return e.unreachable(topology.Gateway, err)
		}
	}
	for _, service := range []string{topology.Uservice1, topology.Uservice2} {
		ids, err := e.find(ctx, fmt.Sprintf("{resource.service.name=%q && resource.telemetry.distro.name=%q}",
			service, tempo.OutsideDistro), e.plainAsked)
		switch {
		case err != nil:
			return broken(err.Error(), "other program").yet()
		case len(ids) == 0:
			return broken("the kernel made no span of "+service, "ebpf not running", "ebpf lacks rights").yet()
		}
	}
	return fine("the kernel made spans of uservice1 and uservice2")
}
