package doctor

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/header"
	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/story"
	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// gateway sends the request, and one to uservice1 before it if the kernel watches that.
func (e *examination) gateway(ctx context.Context) (l Link) {
	e.sent = time.Now()
	if e.o.EBPF {
		_, _ = e.call(ctx, topology.Uservice1) // the next one says what is wrong
	}
	res, err := e.call(ctx, topology.Uservice3)
	e.answered = time.Now()
	if err != nil {
		return e.unreachable(topology.Gateway, err)
	}
	e.response = res
	// Our services' pages name a trace, or say that there is none; those of errors too.
	e.ours = strings.Contains(string(res.Page), "<p>Trace: ")
	detail := fmt.Sprintf("answered %d %s", res.Status, http.StatusText(res.Status))
	switch {
	case res.Status == http.StatusOK && e.ours:
		return fine("uservice3 answered 200 through %s", e.o.name(topology.Gateway))
	case e.ours:
		return broken(detail, "a service fails")
	case res.Status >= 502 && res.Status <= 504:
		return broken(detail, "uservice3 down")
	}
	l = broken(detail+", and not as uservice3 does", "no route")
	l.retry = res.Status == http.StatusNotFound // Traefik listens before it has read its routes
	return l
}

// traceID reads which trace the service says the request was.
func (e *examination) traceID(ctx context.Context) Link {
	h := header.Decode(header.TraceResponse, e.response.TraceResponse)
	e.id = h.TraceID
	switch {
	case h.TraceID == "":
		return broken(fmt.Sprintf("traceresponse is %q, which names no trace", h.Value), "tracing off")
	case !h.Unsampled():
		return fine("%s, sampled", e.id)
	}
	l := broken(e.id+" was not sampled, so no span of it is sent", "not sampled").yet().
		with("uservice3, or " + e.o.name(topology.Gateway) + " before it,")
	hops, _ := e.hops(ctx)
	for _, arrived := range hops[topology.Uservice3].Arrived {
		if arrived.Unsampled() {
			l.about, l.retry = e.o.name(topology.Gateway), false
		} else if arrived.TraceID != "" {
			l.about, l.retry = topology.Uservice3, false
		}
	}
	return l
}

// ledger asks the hop ledger of a run without Docker about the trace. With Docker it makes one of the
// log lines in Loki, which have the headers that the services received. An error says who does not answer.
func (e *examination) ledger(ctx context.Context) (answer ledger.Answer, err error) {
	silent := func(part string) error { return errors.New(e.o.name(part) + ", which does not answer") }
	if e.o.Kind == Local {
		found, err := e.askJSON(ctx, topology.Explorer, "/api/ledger?trace=__id__")
		if err != nil {
			return answer, silent(topology.Explorer)
		}
		_ = json.Unmarshal([]byte(found.Raw), &answer) // nothing is known then
		return answer, nil
	}
	if e.o.URLs[loki] == "" {
		return answer, nil
	}
	made := ledger.New(ledger.DefaultMaxRecords)
	const inTrace = ` |= "request" | trace_id="__id__" or headers_uber_trace_id=~"__id__.*"` +
		` or headers_traceparent=~"00-__id__.*"`
	lines, err := e.askJSON(ctx, loki, logQL("uservice[34]", inTrace))
	if err != nil {
		return answer, silent(loki)
	}
	for _, line := range lines.Get("data.result.#.stream").Array() {
		headers := map[string]string{}
		for label, value := range line.Map() {
			if name, ok := strings.CutPrefix(label, "headers_"); ok {
				headers[strings.ReplaceAll(name, "_", "-")] = value.String()
			}
		}
		if len(headers) > 0 { // there are other lines of the request
			data, _ := json.Marshal(map[string]any{"time": e.sent, "msg": "request", "headers": headers,
				"trace_id": line.Get("trace_id").String(), "span_id": line.Get("span_id").String()})
			made.AddLine(line.Get("service_name").String(), data)
		}
	}
	answer.Requests, _, _ = made.Trace(e.id, ledger.DefaultLimit)
	return answer, nil
}

// hops are what the ledger says of the request, by who received it.
func (e *examination) hops(ctx context.Context) (map[string]ledger.Hop, error) {
	hops := map[string]ledger.Hop{}
	answer, err := e.ledger(ctx)
	for _, request := range answer.Requests {
		for _, hop := range request.Hops {
			if hop.Action != ledger.NoAction {
				hops[hop.To] = hop
			}
		}
	}
	return hops, err
}

// notContinued is why a service did not continue the trace that it was called in, if not for its header.
var notContinued = map[ledger.Action]cause{
	ledger.Dropped:       "tracing off",
	ledger.IgnoredFormat: "formats differ",
}

// header judges by the hop ledger whether both services continued the trace.
func (e *examination) header(ctx context.Context) Link {
	hops, err := e.hops(ctx)
	var unknown []string
	for _, service := range pair {
		switch hop, known := hops[service]; {
		case !known:
			unknown = append(unknown, service)
		case hop.Action != ledger.Continued:
			return broken(strings.TrimSuffix(hop.Says, "."), cmp.Or(notContinued[hop.Action], "header changed")).with(service)
		}
	}
	switch {
	case err != nil:
		return skipped("needs: " + err.Error()).yet()
	case len(unknown) > 0:
		return skipped("no log line says what reached " + strings.Join(unknown, " and ")).yet()
	}
	return fine("continued by uservice3 and uservice4")
}

// pair are the services that take part in the request.
var pair = []string{topology.Uservice3, topology.Uservice4}

// spans judges whether all who took part in the request have sent their spans.
func (e *examination) spans(ctx context.Context) Link {
	if e.states[linkHeader] == Broken {
		return skipped("needs: " + linkHeader)
	}
	gateway := e.o.name(topology.Gateway)
	found, err := e.backend.Trace(ctx, e.id)
	if errors.Is(err, tempo.ErrNotFound) {
		return e.notSent(ctx, "none has arrived", append([]string{gateway}, pair...)...)
	} else if err != nil {
		return broken(err.Error(), "other program").yet()
	}
	trace := story.Tell(found, story.Options{})
	var present, others, missing []string
	proxy := "" // the gateway may have any name
	for _, s := range trace.Spans {
		if s.ParentID == "" {
			proxy = s.Service
		}
	}
	switch {
	case slices.Contains(pair, proxy):
		return broken(proxy+" began this trace", "header changed", "formats differ").yet().with(proxy)
	case proxy == "":
		missing = append(missing, gateway)
	}
	for _, s := range trace.Services {
		present = append(present, s.Name)
		if s.Name != proxy && !slices.Contains(pair, s.Name) {
			others = append(others, s.Name)
		}
	}
	for _, name := range pair {
		if !slices.Contains(present, name) {
			missing = append(missing, name)
		}
	}
	detail := fmt.Sprintf("%d spans of %s", len(trace.Spans), strings.Join(present, ", "))
	if o := trace.Origin; o != nil && e.response.Status >= 500 {
		detail += fmt.Sprintf("; the error began in %s of %s: %s", o.Name, o.Service, o.StatusMessage)
	}
	if len(missing) == 0 {
		if trace.Complete() {
			return fine("%s", detail)
		}
		return broken(detail+"; the trace has holes", "not exported", "store away").yet().with(strings.Join(present, " "))
	}
	detail += "; none of " + strings.Join(missing, " and ")
	l := broken(detail, "another name", "not exported").with(strings.Join(missing, " "))
	if len(others) == 0 {
		if proxy == "" || trace.Origin == nil || trace.Origin.Service != topology.Uservice3 {
			return e.notSent(ctx, detail, missing...)
		}
		l.causes = []cause{"not called"}
	}
	l.retry = !trace.Complete()
	return l
}

// notSent tells why spans of these processes do not arrive. The hop ledger of a run without Docker reads
// what their logs say of it; in the compose stack Loki may know.
func (e *examination) notSent(ctx context.Context, detail string, senders ...string) Link {
	if e.o.Kind == Local {
		answer, _ := e.ledger(ctx)
		services := answer.Services
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
	if endpoint, good, err := e.put(ctx, loki, vain); err == nil && !good {
		return broken(detail, vain.otherwise...).yet().with(endpoint)
	}
	return broken(detail, "not exported", "store away").yet().with(strings.Join(senders, " "))
}

// pageLink is the link to a trace on uservice3's page.
var pageLink = regexp.MustCompile(`Trace: (?:<code>)?<a href="([^"]+)"`)

// traceLink follows the link that the service's page has for its trace.
func (e *examination) traceLink(ctx context.Context) Link {
	link := ""
	if m := pageLink.FindSubmatch(e.response.Page); m != nil {
		link = html.UnescapeString(string(m[1]))
	}
	if !strings.Contains(link, e.id) {
		return broken("the page of uservice3 has no link to this trace", "wrong trace link")
	}
	res, err := get(ctx, e.http, link, "")
	switch {
	case err != nil && e.down[grafana] && hostOf(link) == hostOf(e.o.URLs[grafana]):
		return skipped("needs: grafana, which is down")
	case err != nil:
		return broken("nothing answers at "+hostOf(link)+", where the link leads", "wrong trace link")
	case res.status != http.StatusOK:
		return broken(fmt.Sprintf("%s, where the link leads, answers %v", hostOf(link), res), "wrong trace link")
	}
	return fine("200 from %s", hostOf(link))
}
