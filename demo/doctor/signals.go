package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/demo/term"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

const (
	callsQuery = `sum(traces_spanmetrics_calls_total{service="uservice3"})`
	edgeQuery  = `sum(traces_service_graph_request_total{client="uservice3",server="uservice4"})`
)

// readNumbers reads what is known before the request. Without a Prometheus that is nothing.
func (v *visit) readNumbers(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	v.before.calls, _ = v.number(ctx, callsQuery)
	v.before.edge, _ = v.number(ctx, edgeQuery)
}

// number asks Prometheus for one number; -1 when there is no such series.
func (v *visit) number(ctx context.Context, query string) (float64, error) {
	answer, err := v.askJSON(ctx, prometheus, "/api/v1/query", url.Values{"query": {query}})
	if value := answer.Get("data.result.0.value.1"); value.Exists() {
		return value.Float(), nil
	}
	return -1, err
}

// spanMetrics waits for the numbers that Tempo makes of spans to move.
func (v *visit) spanMetrics(ctx context.Context) outcome {
	if !v.served(ctx) {
		return skipped(needsServed)
	}
	calls, err := v.number(ctx, callsQuery)
	edge, edgeErr := v.number(ctx, edgeQuery)
	counted := calls >= 0 && calls != v.before.calls
	switch {
	case err != nil || edgeErr != nil:
		return v.unreachable(prometheus, cmp.Or(err, edgeErr))
	case counted && v.match()[uservice4Server] == nil:
		return fine("calls of uservice3 %.0f; no edge to uservice4, which is not in the trace", calls)
	case counted && edge >= 0 && edge != v.before.edge:
		return fine("calls of uservice3 %.0f, edge uservice3 to uservice4 %.0f", calls, edge)
	case counted:
		return broken("span metrics move, the service graph's do not", "no service graphs").yet()
	case calls >= 0:
		return missing("they are there, and stand still: this request did not count", v.noMetrics)
	}
	return missing("traces_spanmetrics_calls_total has no series of uservice3", v.noMetrics)
}

// noMetrics asks Prometheus why nothing comes.
func (v *visit) noMetrics(ctx context.Context, detail string) outcome {
	switch {
	case v.o.override != "":
		return broken(detail, "collector counts")
	case v.flag(ctx, "web.enable-remote-write-receiver") == "false":
		return broken(detail, "receiver off")
	}
	return broken(detail, "no processors", "written elsewhere")
}

// flag asks Prometheus for a flag of its command line; empty when it does not say.
func (v *visit) flag(ctx context.Context, name string) string {
	answer, _ := v.askJSON(ctx, prometheus, "/api/v1/status/flags", nil)
	return answer.Get("data." + gjson.Escape(name)).String()
}

// metric is uservice3's own request durations. A job is a service: conf/prometheus/scrape.yaml.
const metric = `http_server_request_duration_seconds`

// exemplar waits until a scrape has brought the trace's id beside uservice3's request durations. Of
// several requests in one bucket the last one's id is kept: that of a later request will do.
func (v *visit) exemplar(ctx context.Context) outcome {
	answer, err := v.askJSON(ctx, prometheus, "/api/v1/query_exemplars", url.Values{
		"query": {metric + `_bucket{job="uservice3"}`},
		"start": {strconv.FormatInt(v.sent.Add(-10*time.Minute).Unix(), 10)},
		"end":   {strconv.FormatInt(time.Now().Add(time.Minute).Unix(), 10)}})
	if err != nil {
		return v.unreachable(prometheus, err)
	}
	seen := answer.Get("data.#.exemplars|@flatten").Array()
	later := ""
	for _, e := range seen {
		switch id := e.Get("labels.trace_id").String(); {
		case id == v.id:
			return fine("on %s of uservice3", metric)
		case e.Get("timestamp").Float() > float64(v.answered.UnixMilli())/1000:
			later = id
		}
	}
	switch {
	case later != "":
		return fine("overtaken by that of a later request, %s", later)
	case len(seen) > 0:
		return broken(metric+" has exemplars, none of them since the request", "scrape interval").yet()
	}
	return missing(metric+" is there, without any trace's id", v.noExemplar)
}

// noExemplar finds out on which side it went missing.
func (v *visit) noExemplar(ctx context.Context, detail string) outcome {
	series, err := v.number(ctx, `count(`+metric+`_count{job="uservice3"})`)
	features := v.flag(ctx, "enable-feature")
	switch {
	case err != nil:
		return v.unreachable(prometheus, err)
	case series <= 0:
		return broken("Prometheus has no "+metric+" of uservice3", "no metrics served", "not scraped")
	case !strings.Contains(features, "exemplar-storage"):
		return broken(detail, "feature not enabled").with(features)
	}
	return broken(detail, "none attached", "scraped without exemplars")
}

// lines asks Loki for lines of a service since some time before the request, and returns the labels
// of each. The filter is LogQL.
func (v *visit) lines(ctx context.Context, service, filter string, before time.Duration) (labels []gjson.Result, err error) {
	answer, err := v.askJSON(ctx, loki, "/loki/api/v1/query_range", url.Values{
		"query": {fmt.Sprintf(`{service_name=%q}`, service) + filter}, "limit": {"100"},
		"start": {strconv.FormatInt(v.sent.Add(-before).UnixNano(), 10)},
		"end":   {strconv.FormatInt(time.Now().Add(time.Minute).UnixNano(), 10)}})
	for _, stream := range answer.Get("data.result").Array() {
		for range stream.Get("values").Array() {
			labels = append(labels, stream.Get("stream"))
		}
	}
	return labels, err
}

// logLine looks for the request's lines in Loki.
func (v *visit) logLine(ctx context.Context) outcome {
	lines, err := v.lines(ctx, topology.Uservice3, fmt.Sprintf(` | trace_id=%q`, v.id), 10*time.Minute)
	switch {
	case err != nil:
		return v.unreachable(loki, err)
	case len(lines) > 0:
		return fine("%s of uservice3 in Loki", term.Count(len(lines), "line"))
	}
	return missing("Loki has no line of uservice3 since the request", v.noLine)
}

// noLine finds out whether other lines come.
func (v *visit) noLine(ctx context.Context, detail string) outcome {
	if lines, _ := v.lines(ctx, topology.Uservice3, fmt.Sprintf(` |= %q`, v.id), time.Second); len(lines) > 0 {
		return broken("a line has the id in its text, and not as structured metadata", "no structured metadata")
	}
	if lines, _ := v.lines(ctx, topology.Uservice3, "", time.Second); len(lines) > 0 {
		return broken("lines of uservice3 come in, none with this trace's id", "log level", "lines delayed")
	}
	return broken(detail, "no lines sent", "log level")
}

// ownSpans looks for the spans that Prometheus and Loki make of themselves with SELF_TRACING=true.
// Each gets a question with a sampled traceparent, which it obeys: no span means no tracing. Grafana
// is left out, as it samples some of its requests whatever it is sent.
func (v *visit) ownSpans(ctx context.Context) outcome {
	var asked, lacking []string
	for _, part := range []string{prometheus, loki} {
		if !v.down[part] && v.o.URLs[part] != "" {
			asked = append(asked, part)
		}
	}
	if v.own == "" {
		v.own = fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64()|1)
		for _, part := range asked {
			path := map[string]string{prometheus: "/api/v1/query?query=1", loki: "/loki/api/v1/labels"}[part]
			_, _ = get(ctx, v.http, askTimeout, v.o.URLs[part]+path, "", "traceparent", "00-"+v.own+"-00000000000000ff-01")
		}
	}
	trace, err := v.getTrace(ctx, v.own)
	if err != nil && !errors.Is(err, tempo.ErrNotFound) {
		return broken(err.Error(), "in trouble").yet()
	}
	for _, part := range asked {
		if trace == nil || !slices.ContainsFunc(trace.Spans, func(s *tempo.Span) bool { return strings.HasPrefix(s.Service, part) }) {
			lacking = append(lacking, v.o.title(part))
		}
	}
	if len(lacking) == 0 {
		return fine("of %s", strings.Join(asked, " and "))
	}
	return missing(strings.Join(lacking, " and "), v.noOwnSpans)
}

// noOwnSpans knows of the Loki that cannot trace itself.
func (v *visit) noOwnSpans(ctx context.Context, lacking string) outcome {
	build, _ := v.askJSON(ctx, loki, "/loki/api/v1/status/buildinfo", nil)
	version := build.Get("version").String()
	if lacking == v.o.title(loki) && strings.HasPrefix(version, "3.7.") {
		return fine("of Prometheus; Loki %s cannot make any (grafana/loki issue 21588)", version)
	}
	return broken(lacking+" made none when asked to", "no own spans").with(lacking)
}
