package doctor

import (
	"cmp"
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
		found, _ := e.askJSON(ctx, topology.Explorer, "/api/ledger?trace=__id__")
		_ = json.Unmarshal([]byte(found.Raw), &answer) // nothing is known then
		return answer
	}
	made := ledger.New(ledger.DefaultMaxRecords)
	const inTrace = ` |= "request" | trace_id="__id__" or headers_uber_trace_id=~"__id__.*"` +
		` or headers_traceparent=~"00-__id__.*"`
	lines, _ := e.askJSON(ctx, loki, logQL("uservice[34]", inTrace))
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

// notContinued is why a service did not continue the trace that it was called in, if not for its header.
var notContinued = map[ledger.Action]cause{
	ledger.Dropped:       "tracing off",
	ledger.IgnoredFormat: "formats differ",
}

// header judges by the hop ledger whether both services continued the trace.
func (e *examination) header(ctx context.Context) outcome {
	hops := e.hops(ctx)
	var unknown []string
	for _, service := range []string{topology.Uservice3, topology.Uservice4} {
		switch hop, known := hops[service]; {
		case !known:
			unknown = append(unknown, service)
		case hop.Action != ledger.Continued:
			return broken(strings.TrimSuffix(hop.Says, "."), cmp.Or(notContinued[hop.Action], "header changed")).with(service)
		}
	}
	if len(unknown) > 0 {
		return skipped("no log line says what reached " + strings.Join(unknown, " and ")).yet()
	}
	return fine("continued by uservice3 and uservice4")
}
