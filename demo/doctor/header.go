package doctor

import (
	"context"
	"encoding/json"
	"strings"

	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// ledger asks the hop ledger of a run without Docker about the trace. With Docker it makes one of the
// log lines in Loki, which have the headers that the services received.
func (e *examination) ledger(ctx context.Context) (answer ledger.Answer) {
	if e.o.Kind == Local {
		res, _ := e.ask(ctx, topology.Explorer, "/api/ledger?trace=__id__")
		_ = json.Unmarshal(res.body, &answer) // nothing is known then
		return answer
	}
	made := ledger.New(ledger.DefaultMaxRecords)
	const inTrace = ` |= "request" | trace_id="__id__" or headers_uber_trace_id=~"__id__.*"` +
		` or headers_traceparent=~"00-__id__.*"`
	for _, service := range []string{topology.Uservice3, topology.Uservice4} {
		for _, line := range e.lines(ctx, service, inTrace) {
			headers := map[string]string{}
			for label, value := range line.Get("stream").Map() {
				if name, ok := strings.CutPrefix(label, "headers_"); ok {
					headers[strings.ReplaceAll(name, "_", "-")] = value.String()
				}
			}
			if len(headers) > 0 { // there are other lines of the request
				data, _ := json.Marshal(map[string]any{"time": e.sent, "msg": "request", "headers": headers,
					"trace_id": line.Get("stream.trace_id").String(), "span_id": line.Get("stream.span_id").String()})
				made.AddLine(service, data)
			}
		}
	}
	answer.Requests, _, _ = made.Trace(e.id, ledger.DefaultLimit)
	return answer
}

// hops are what the ledger says of the request, by who received it.
func (e *examination) hops(ctx context.Context) map[string]ledger.Hop {
	hops := map[string]ledger.Hop{}
	for _, request := range e.ledger(ctx).Requests {
		for _, hop := range request.Hops {
			if hop.Action != ledger.NoAction {
				hops[hop.To] = hop
			}
		}
	}
	return hops
}

// header judges whether both services continued the trace: by the ledger, and where that says nothing
// by the spans.
func (e *examination) header(ctx context.Context) outcome {
	if err := e.fetch(ctx); err != nil {
		return broken(err.Error(), "in trouble").yet()
	}
	hops, found := e.hops(ctx), e.match()
	answered := answeredIn(found[calls4])
	var continued []string
	for _, service := range []string{topology.Uservice3, topology.Uservice4} {
		hop, known := hops[service]
		switch span := found[service+" handle_incoming_call"]; {
		case known && hop.Action != ledger.Continued:
			return notContinued(hop, hops[topology.Gateway].TraceID != "", e.o.Kind)
		case known, span != nil && span.ParentID != "", service == topology.Uservice4 && answered == e.id:
			continued = append(continued, service)
		case span != nil:
			return broken(service+" started a trace of its own",
				"formats differ", "header changed", "proxy does not trace").yet()
		case service == topology.Uservice4 && answered != "":
			return broken("uservice4 is in a trace of its own, "+answered,
				"services' formats differ", "header changed between services")
		}
	}
	by := strings.Join(continued, " and ")
	switch call := found[calls4]; {
	case len(continued) == 2:
		return fine("continued by %s", by)
	case by == topology.Uservice3 && call != nil && call.Status == "error" && !call.Answered():
		return fine("continued by uservice3, whose call of uservice4 got no answer")
	case by != "":
		return fine("continued by %s; nothing shows whether the other one did", by).yet()
	}
	return skipped("unknown: too few spans have arrived").yet()
}

// notContinued tells why a service did not continue the trace that it was called in. Traced says that the
// gateway was in one, which only a run without Docker records, as what left it.
func notContinued(hop ledger.Hop, traced bool, kind Kind) outcome {
	detail := strings.TrimSuffix(hop.Says, ".")
	var names, values []string
	for _, h := range hop.Arrived {
		names, values = append(names, h.Name), append(values, h.Name+": "+h.Value)
	}
	asSent := hop.Left != nil && ledger.SameHeaders(hop.Left, hop.Arrived)
	damaged := strings.Join(values, ", ")
	switch {
	case hop.Action == ledger.Dropped:
		return broken(detail, "tracing off")
	case hop.To == topology.Uservice4 && hop.Action == ledger.IgnoredFormat:
		return broken(detail, "services' formats differ")
	case hop.To == topology.Uservice4:
		return broken(detail, "header changed between services", "services' formats differ")
	case hop.Action == ledger.IgnoredFormat:
		return broken(detail, "formats differ").with(strings.Join(names, " and "))
	case asSent && (traced || hop.Action == ledger.IgnoredMalformed):
		return broken(detail, "header not sent").with(damaged)
	case traced || hop.Action == ledger.IgnoredMalformed:
		return broken(detail, "header changed").with(damaged)
	case kind == Local:
		return broken(detail, "proxy does not trace").yet() // the gateway's record comes after its answer
	}
	return broken(detail, "proxy does not trace", "header changed").with("")
}
