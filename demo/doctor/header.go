package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/header"
	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// header judges from the spans who started the trace, and whether everybody continued it.
func (v *visit) header(ctx context.Context) outcome {
	if err := v.fetch(ctx); err != nil {
		return broken(err.Error(), "in trouble").yet()
	}
	found := v.match()
	proxy, served, caller := found[proxyClient], found[uservice3Server], found[uservice3Client]
	if served != nil && served.ParentID == "" {
		return v.notContinued(ctx, served)
	}
	response, got := answer(caller)
	uservice3 := served != nil || proxy != nil // without its span: it has named the trace that the proxy is in
	uservice4 := found[uservice4Server] != nil || response.Valid
	starter := v.o.title(topology.Gateway)
	if proxy != nil {
		starter = proxy.Service
	}
	switch {
	case response.Valid && response.TraceID != v.id:
		return broken("uservice4 is in a trace of its own, "+response.TraceID,
			"services' formats differ", "header changed between services")
	case uservice3 && uservice4:
		return fine("started by %s, continued by uservice3 and uservice4", starter)
	case uservice3 && caller != nil && caller.Status == "error" && !got:
		return fine("continued by uservice3, whose call of uservice4 got no answer")
	case uservice3:
		return fine("continued by uservice3; nothing shows whether uservice4 did").yet()
	case uservice4:
		return fine("continued by uservice4; nothing shows who started it").yet()
	}
	return skipped("unknown: too few spans have arrived").yet()
}

// answer is the traceresponse that a call got, and whether it got any answer.
func answer(call *tempo.Span) (h header.Header, got bool) {
	if call == nil {
		return h, false
	}
	for _, event := range call.Events {
		if event.Name == "Got response!" {
			value, _ := event.Attributes["traceresponse"].(string)
			return header.Decode("traceresponse", value), true
		}
	}
	return h, false
}

// contextHeaders carry a trace's id. The services read some of them, as OTEL_PROPAGATORS says.
var contextHeaders = []string{header.UberTraceID, header.TraceParent,
	"b3", "x-b3-traceid", "x-amzn-trace-id", "ot-tracer-traceid"}

// notContinued tells why uservice3 started a trace: by the headers that arrived, and by the trace that
// the proxy is in instead, if it traces at all.
func (v *visit) notContinued(ctx context.Context, served *tempo.Span) outcome {
	gateway := v.o.title(topology.Gateway)
	detail := "uservice3 started a trace of its own; there is none of " + gateway
	orphan := v.orphan(ctx, served)
	if orphan != "" {
		detail = "uservice3 started a trace of its own; " + gateway + " was in another, " + orphan
	}
	headers, asSent := v.arrived(ctx)
	var names []string
	damaged := ""
	for _, name := range contextHeaders {
		value := headers[name]
		if value != "" {
			names = append(names, name)
		}
		if value != "" && !header.Decode(name, value).Valid {
			damaged = name + ": " + value
		}
	}
	var out outcome
	switch {
	case asSent && (damaged != "" || orphan != "" && len(names) == 0):
		out = broken(detail, "header not sent").with(damaged)
	case damaged != "", headers != nil && orphan != "" && len(names) == 0:
		out = broken(detail, "header changed").with(damaged)
	case len(names) > 0:
		out = broken(detail, "formats differ").with(strings.Join(names, " and "))
	case headers != nil:
		out = broken(detail, "proxy does not trace")
	case orphan != "":
		out = broken(detail, "formats differ", "header changed")
	default:
		out = broken(detail, "proxy does not trace", "formats differ", "header changed")
	}
	out.retry = orphan == "" || headers == nil // the gateway's trace and log lines take their time
	return out
}

// orphan looks for the proxy's trace that this request should have been in: one that no service
// continued, with a client span that encloses what uservice3 did. It returns "" when there is none.
func (v *visit) orphan(ctx context.Context, served *tempo.Span) string {
	const skew = 50 * time.Millisecond // between clocks
	continued := func(s *tempo.Span) bool { return s.Kind == "server" && s.ParentID != "" }
	encloses := func(s *tempo.Span) bool {
		return s.Name == "ReverseProxy" && s.Start.Before(served.Start.Add(skew)) && s.End.After(served.End.Add(-skew))
	}
	traces, _ := v.findTraces(ctx, "name=ReverseProxy", served.Start)
	for _, t := range traces {
		if t.ID != v.id && !slices.ContainsFunc(t.Spans, continued) && slices.ContainsFunc(t.Spans, encloses) {
			return t.ID
		}
	}
	return ""
}

// ledger returns what the hop ledger of a run without Docker has about the trace; elsewhere nothing.
func (v *visit) ledger(ctx context.Context) (answer ledger.Answer) {
	if v.o.Kind == Local {
		res, _ := v.ask(ctx, topology.Explorer, "/api/ledger", url.Values{"trace": {v.id}})
		_ = json.Unmarshal(res.body, &answer) // nothing is known then
	}
	return answer
}

// arrived returns the headers that uservice3 received, by name, or nil when they are not known; and
// whether they are known to have left the gateway like that. The hop ledger of a run without Docker
// has both; else the service's log line in Loki has the former.
func (v *visit) arrived(ctx context.Context) (headers map[string]string, asSent bool) {
	for _, request := range v.ledger(ctx).Requests {
		for _, hop := range request.Hops {
			if hop.To == topology.Uservice3 && hop.Arrived.Source != ledger.NotKnown {
				same := func(a, b header.Header) bool { return a.Name == b.Name && a.Value == b.Value }
				asSent = hop.Left.Source == ledger.Recorded && slices.EqualFunc(hop.Left.Headers, hop.Arrived.Headers, same)
				headers = map[string]string{}
				for _, h := range hop.Arrived.Headers {
					headers[h.Name] = h.Value
				}
			}
		}
	}
	if v.o.Kind == Local {
		return headers, asSent
	}
	lines, _ := v.lines(ctx, topology.Uservice3, fmt.Sprintf(` | trace_id=%q |= "request"`, v.id), 5*time.Minute)
	headers = map[string]string{}
	for _, labels := range lines {
		for label, value := range labels.Map() {
			if name, ok := strings.CutPrefix(label, "headers_"); ok {
				headers[strings.ReplaceAll(name, "_", "-")] = value.String()
			}
		}
	}
	if len(headers) == 0 {
		return nil, false
	}
	return headers, false
}
