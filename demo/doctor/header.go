package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// header judges from the spans who started the trace, and whether everybody continued it.
func (v *visit) header(ctx context.Context) outcome {
	err := v.fetch(ctx)
	found := v.match()
	proxy, served, caller := found[proxyClient], found[uservice3Server], found[uservice3Client]
	// Without its span: uservice3 has named the id of the trace that the proxy is in.
	uservice3 := served != nil && served.ParentID != "" || served == nil && proxy != nil
	uservice4 := found[uservice4Server] != nil
	var other string // the id of another trace, which uservice4 was in
	if caller != nil {
		for _, event := range caller.Events {
			value, _ := event.Attributes["traceresponse"].(string)
			switch h := ledger.Decode("traceresponse", value); {
			case h.Valid && h.TraceID == v.id:
				uservice4 = true
			case h.Valid:
				other = h.TraceID
			}
		}
	}
	switch {
	case err != nil:
		return broken(err.Error(), "in trouble").yet()
	case v.trace == nil:
		return skipped("unknown: no span of the trace has arrived").yet()
	case served != nil && served.ParentID == "":
		return v.notContinued(ctx, served)
	case other != "":
		return broken("uservice4 is in a trace of its own, "+other, "services' formats differ", "header changed between services")
	case uservice3 && v.inPlaceOfUservice4(found) != nil:
		return fine("continued by uservice3 and %s", v.inPlaceOfUservice4(found).Service)
	case uservice3 && uservice4:
		who := v.o.title(topology.Gateway)
		if proxy != nil {
			who = proxy.Service
		}
		return fine("started by %s, continued by uservice3 and uservice4", who)
	case uservice3 && unanswered(caller):
		return fine("continued by uservice3, whose call of uservice4 got no answer")
	case uservice3:
		return fine("continued by uservice3; nothing shows whether uservice4 did").yet()
	case uservice4:
		return fine("continued by uservice4; nothing shows who started it").yet()
	}
	return skipped("unknown: too few spans have arrived").yet()
}

// unanswered reports whether a call has failed without an answer.
func unanswered(call *tempo.Span) bool {
	return call != nil && call.Status == "error" && len(call.Children) == 0 &&
		!slices.ContainsFunc(call.Events, func(e tempo.Event) bool { return e.Name == "Got response!" })
}

// contextHeaders carry a trace's id. The services read some of them, as OTEL_PROPAGATORS says.
var contextHeaders = []string{ledger.UberTraceID, ledger.TraceParent,
	"b3", "x-b3-traceid", "x-amzn-trace-id", "ot-tracer-traceid"}

// notContinued tells why uservice3 started a trace. Its log line has the headers that arrived;
// whether the proxy traced at all is seen from the trace that it made instead.
func (v *visit) notContinued(ctx context.Context, served *tempo.Span) outcome {
	gateway := v.o.title(topology.Gateway)
	detail := "uservice3 started a trace of its own; there is none of " + gateway
	orphan := v.orphan(ctx, served)
	if orphan != "" {
		detail = "uservice3 started a trace of its own; " + gateway + " was in another, " + orphan
	}
	headers := v.arrived(ctx)
	var names []string
	damaged := ""
	for _, name := range contextHeaders {
		value := headers[name]
		if value != "" {
			names = append(names, name)
		}
		known := name == ledger.UberTraceID || name == ledger.TraceParent
		if value != "" && known && !ledger.Decode(name, value).Valid {
			damaged = name + ": " + value
		}
	}
	hop := v.hopTo(v.ledger(ctx), topology.Uservice3)
	left := hop != nil && hop.Left.Source == ledger.Recorded
	sameValue := func(h ledger.Header) bool { return h.Name+": "+h.Value == damaged }
	switch {
	case left && damaged != "" && slices.ContainsFunc(hop.Left.Headers, sameValue):
		return broken(detail, "header sent damaged").with(damaged)
	case left && orphan != "" && len(hop.Left.Headers) == 0:
		return broken(detail, "header not sent")
	case headers == nil && orphan != "":
		return broken(detail, "formats differ", "header changed")
	case headers == nil:
		return broken(detail, "proxy does not trace", "formats differ", "header changed")
	case damaged != "":
		return broken(detail, "header damaged").with(damaged)
	case len(names) == 0 && orphan != "":
		return broken(detail, "header lost")
	case len(names) == 0:
		return broken(detail, "no header sent")
	}
	return broken(detail, "format not read").with(strings.Join(names, " and "))
}

// orphan looks for the proxy's trace that this request should have been in: one that no service
// continued, with a client span that encloses what uservice3 did. It returns "" when there is none.
func (v *visit) orphan(ctx context.Context, served *tempo.Span) (id string) {
	const skew = 50 * time.Millisecond // between clocks
	continued := func(s *tempo.Span) bool { return s.Kind == "server" && s.ParentID != "" }
	encloses := func(s *tempo.Span) bool {
		return s.Name == "ReverseProxy" && s.Start.Before(served.Start.Add(skew)) && s.End.After(served.End.Add(-skew))
	}
	v.poll(ctx, v.within(5*time.Second), v.o.title(topology.Gateway)+"'s own trace can be searched", func() bool {
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		list, _ := v.backend.Search(ctx, tempo.Query{Tags: "name=ReverseProxy", Limit: 50,
			Start: served.Start.Add(-2 * time.Second), End: time.Now().Add(time.Second)})
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

// ledger returns what the hop ledger of a run without Docker has about the trace, if there is one.
func (v *visit) ledger(ctx context.Context) (answer ledger.Answer) {
	if v.o.URLs[topology.Explorer] != "" {
		res, _ := v.ask(ctx, topology.Explorer, "/api/ledger", url.Values{"trace": {v.id}})
		_ = json.Unmarshal(res.body, &answer) // nothing is known then
	}
	return answer
}

// hopTo is the hop to a service, as that recorded it; nil if it did not.
func (v *visit) hopTo(answer ledger.Answer, service string) *ledger.Hop {
	for _, request := range answer.Requests {
		for i, hop := range request.Hops {
			if hop.To == service && hop.Arrived.Source != ledger.NotKnown {
				return &request.Hops[i]
			}
		}
	}
	return nil
}

// arrived returns the headers that uservice3 received, by name: from the ledger of a run without
// Docker, or from its log line in Loki. It returns nil when they are not known.
func (v *visit) arrived(ctx context.Context) map[string]string {
	headers := map[string]string{}
	if v.o.URLs[topology.Explorer] != "" {
		hop := v.hopTo(v.ledger(ctx), topology.Uservice3)
		if hop == nil {
			return nil
		}
		for _, h := range hop.Arrived.Headers {
			headers[h.Name] = h.Value
		}
		return headers
	}
	v.poll(ctx, v.within(3*time.Second), "Loki has the request's headers", func() bool {
		lines, err := v.lines(ctx, fmt.Sprintf(`%s | trace_id=%q |= "request"`, ofService, v.id), 5*time.Minute)
		for _, labels := range lines {
			for label, value := range labels.Map() {
				if name, ok := strings.CutPrefix(label, "headers_"); ok {
					headers[strings.ReplaceAll(name, "_", "-")] = value.String()
				}
			}
		}
		return err != nil || len(headers) > 0 // without a Loki it is an error
	})
	if len(headers) == 0 {
		return nil
	}
	return headers
}
