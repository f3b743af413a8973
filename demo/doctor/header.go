package doctor

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// joined says who is known, from the spans so far, to have continued the trace.
type joined struct {
	uservice3, uservice4 bool
	ownTrace             bool   // uservice3 has started this trace
	other                string // the id of another trace, which uservice4 was in
}

func (v *visit) joined() (j joined) {
	found := v.match()
	if s := found[uservice3Server]; s != nil {
		j.ownTrace = s.ParentID == ""
		j.uservice3 = !j.ownTrace
	} else {
		// uservice3 has named the id of the trace that the proxy is in.
		j.uservice3 = found[proxyClient] != nil
	}
	j.uservice4 = found[uservice4Server] != nil
	if s := found[uservice3Client]; s != nil {
		for _, event := range s.Events {
			value, _ := event.Attributes["traceresponse"].(string)
			switch h := ledger.Decode("traceresponse", value); {
			case h.Valid && h.TraceID == v.id:
				j.uservice4 = true
			case h.Valid:
				j.other = h.TraceID
			}
		}
	}
	return j
}

// header judges from the spans who started the trace, and whether everybody continued it.
func (v *visit) header(ctx context.Context) outcome {
	err := v.fetch(ctx)
	switch j := v.joined(); {
	case err != nil && v.trace == nil:
		return broken(err.Error(), "in trouble").yet()
	case v.trace == nil:
		return skipped("cannot be told: no span of the trace has arrived").yet()
	case j.ownTrace:
		return v.notContinued(ctx)
	case j.other != "":
		return broken("uservice4 is in a trace of its own, "+j.other, "services' formats differ", "header changed between services")
	case j.uservice3 && j.uservice4:
		who := "the proxy"
		if s := v.match()[proxyClient]; s != nil {
			who = s.Service
		}
		return fine("started by %s, continued by uservice3 and uservice4", who)
	case j.uservice3:
		return fine("continued by uservice3; of uservice4 nothing can be told").yet()
	case j.uservice4:
		return fine("continued by uservice4; who started it cannot be told").yet()
	}
	return skipped("cannot be told from the spans that have arrived").yet()
}

// contextHeaders carry a trace's id. The services read some of them, as OTEL_PROPAGATORS says.
var contextHeaders = []string{ledger.UberTraceID, ledger.TraceParent,
	"b3", "x-b3-traceid", "x-amzn-trace-id", "ot-tracer-traceid"}

// notContinued tells why uservice3 started a trace. Its log line has the headers that arrived;
// whether the proxy traced at all is seen from the trace that it made instead.
func (v *visit) notContinued(ctx context.Context) outcome {
	proxy := v.o.name(topology.Gateway)
	orphan := v.orphan(ctx)
	detail := fmt.Sprintf("uservice3 started a trace of its own; of %s there is no trace at all", proxy)
	if orphan != "" {
		detail = fmt.Sprintf("uservice3 started a trace of its own; %s was in another, %s", proxy, orphan)
	}
	headers := v.arrived(ctx)
	var names []string
	damaged := ""
	for _, name := range contextHeaders {
		value := headers[name]
		if value == "" {
			continue
		}
		names = append(names, name)
		if known := name == ledger.UberTraceID || name == ledger.TraceParent; known && !ledger.Decode(name, value).Valid {
			damaged = name + ": " + value
		}
	}
	switch {
	case headers == nil && orphan != "":
		return broken(detail, "formats differ", "header changed")
	case headers == nil:
		return broken(detail, "proxy does not trace", "formats differ", "header changed")
	case damaged != "":
		return broken(detail, "header damaged", "formats differ").about(damaged)
	case len(names) == 0 && orphan != "":
		return broken(detail, "header lost", "formats differ")
	case len(names) == 0:
		return broken(detail, "no header sent")
	}
	return broken(detail, "format not read").about(strings.Join(names, " and "))
}

// orphan looks for the proxy's trace that this request should have been in: one that no service
// continued, with a client span that encloses what uservice3 did. It returns "" when there is none.
func (v *visit) orphan(ctx context.Context) (id string) {
	served := v.match()[uservice3Server]
	if served == nil {
		return ""
	}
	const skew = 50 * time.Millisecond // between clocks
	continued := func(s *tempo.Span) bool { return s.Kind == "server" && s.ParentID != "" }
	encloses := func(s *tempo.Span) bool {
		return s.Name == "ReverseProxy" && s.Start.Before(served.Start.Add(skew)) && s.End.After(served.End.Add(-skew))
	}
	v.poll(ctx, v.within(5*time.Second), "the proxy's own trace can be searched", func() bool {
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		list, err := v.backend.Search(ctx, tempo.Query{Tags: "name=ReverseProxy", Limit: 50,
			Start: served.Start.Add(-2 * time.Second), End: time.Now().Add(time.Second)})
		if err != nil {
			return false
		}
		for _, found := range list {
			t, err := v.backend.Trace(ctx, found)
			if err == nil && t.ID != v.id && !slices.ContainsFunc(t.Spans, continued) && slices.ContainsFunc(t.Spans, encloses) {
				id = t.ID
			}
		}
		return id != ""
	})
	return id
}

// arrived returns the headers that uservice3 received, by name: from the ledger of a run without
// Docker, or from its log line in Loki. It returns nil when they are not known.
func (v *visit) arrived(ctx context.Context) (headers map[string]string) {
	if v.o.URLs[topology.Explorer] != "" {
		return v.ledger(ctx)
	}
	if v.o.URLs[loki] == "" {
		return nil
	}
	v.poll(ctx, v.within(3*time.Second), "Loki has the request's headers", func() bool {
		lines, err := v.lines(ctx, fmt.Sprintf(`{service_name="uservice3"} | trace_id=%q |= "request"`, v.id), 5*time.Minute, 10)
		for _, labels := range lines {
			for label, value := range labels {
				if name, ok := strings.CutPrefix(label, "headers_"); ok {
					if headers == nil {
						headers = map[string]string{}
					}
					headers[strings.ReplaceAll(name, "_", "-")] = value
				}
			}
		}
		return err != nil || headers != nil
	})
	return headers
}

// ledger asks the page of a run without Docker.
func (v *visit) ledger(ctx context.Context) map[string]string {
	var answer ledger.Answer
	if err := v.askJSON(ctx, topology.Explorer, "/api/ledger", url.Values{"trace": {v.id}}, &answer); err != nil {
		return nil
	}
	for _, request := range answer.Requests {
		for _, hop := range request.Hops {
			if hop.To != topology.Uservice3 || hop.Arrived.Source == ledger.NotKnown {
				continue
			}
			headers := map[string]string{}
			for _, h := range hop.Arrived.Headers {
				headers[h.Name] = h.Value
			}
			return headers
		}
	}
	return nil
}
