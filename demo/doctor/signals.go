package doctor

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"example.com/grafana-tempo-go-demo/demo/term"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

const (
	callsQuery = `sum(traces_spanmetrics_calls_total{service="uservice3"})`
	edgeQuery  = `sum(traces_service_graph_request_total{client="uservice3",server="uservice4"})`
	// metric is uservice3's own request durations. A job is a service: conf/prometheus/scrape.yaml.
	metric = `http_server_request_duration_seconds`
)

// query is the path of Prometheus that answers a query in PromQL.
func query(promQL string) string { return "/api/v1/query?" + url.Values{"query": {promQL}}.Encode() }

// logQL is the path of Loki that finds lines of a service; see ask.
func logQL(service, filter string) string {
	query := url.QueryEscape(fmt.Sprintf(`{service_name=%q}`, service) + filter)
	return "/loki/api/v1/query_range?limit=100&start=__since__&query=" + query
}

// number asks Prometheus for one number; -1 when there is no such series.
func (e *examination) number(ctx context.Context, promQL string) (float64, error) {
	answer, err := e.askJSON(ctx, prometheus, query(promQL))
	if value := answer.Get("data.result.0.value.1"); value.Exists() {
		return value.Float(), nil
	}
	return -1, err
}

// lines are the streams in Loki that have lines of a service.
func (e *examination) lines(ctx context.Context, service, filter string) []gjson.Result {
	answer, _ := e.askJSON(ctx, loki, logQL(service, filter))
	return answer.Get("data.result").Array()
}

// haveLinks are the jobs in Prometheus that another link asks about.
var haveLinks = []string{topology.Uservice3, "traefik", topology.Tempo, prometheus, loki, grafana, "span-metrics"}

// targets names what Prometheus cannot scrape: a target that is not up, and a job without any, as when
// the name of its containers is gone.
func (e *examination) targets(ctx context.Context) outcome {
	pools, err := e.askJSON(ctx, prometheus, jobs)
	active, activeErr := e.askJSON(ctx, prometheus, "/api/v1/targets?state=active")
	if err := cmp.Or(err, activeErr); err != nil {
		return skipped("not known: Prometheus does not answer") // and has its own link
	}
	var up, down, names []string
	for _, pool := range pools.Get("data.scrapePools").Array() {
		job := pool.String()
		if slices.Contains(haveLinks, job) {
			continue
		}
		targets := active.Get(`data.activeTargets.#(scrapePool=="` + job + `")#`)
		sick := targets.Get(`#(health=="down")#`).Array()
		switch {
		case len(targets.Array()) == 0:
			down, names = append(down, job+" (nothing has this name)"), append(names, job)
		case len(sick) == 0:
			up = append(up, job)
		}
		for _, target := range sick {
			name, _, _ := strings.Cut(hostOf(target.Get("scrapeUrl").String()), ":")
			if name == "" || net.ParseIP(name) != nil { // found by the name of the job
				name = job
			}
			down, names = append(down, fmt.Sprintf("%s (%s)", name, target.Get("lastError"))), append(names, name)
		}
	}
	if len(down) > 0 {
		return broken("not up: "+strings.Join(down, ", "), "target down").with(strings.Join(slices.Compact(names), " ")).yet()
	}
	return fine("up: %s", strings.Join(up, ", "))
}

// spanMetrics waits for the numbers that Tempo makes of spans to move.
func (e *examination) spanMetrics(ctx context.Context) outcome {
	if out, needed := e.needsServed3(ctx); needed {
		return out
	}
	calls, err := e.number(ctx, callsQuery)
	edge, edgeErr := e.number(ctx, edgeQuery)
	switch counted := calls >= 0 && calls != e.before.calls; {
	case err != nil || edgeErr != nil:
		return e.unreachable(prometheus, cmp.Or(err, edgeErr))
	case counted && e.match()[served4] == nil:
		return fine("calls of uservice3 %.0f; this trace adds no edge to uservice4, which is not in it", calls)
	case counted && edge >= 0 && edge != e.before.edge:
		return fine("calls of uservice3 %.0f, edge uservice3 to uservice4 %.0f", calls, edge)
	case counted:
		return broken("span metrics move, the service graph's do not", "no service graphs").yet()
	case calls >= 0:
		return broken("they are there, and stand still: this request did not count", "no metrics made").yet()
	}
	return broken("traces_spanmetrics_calls_total has no series of uservice3", "no metrics made").yet()
}

// exemplar waits until a scrape has brought the trace's id beside uservice3's request durations. Of
// several requests in one bucket the last one's id is kept: that of a later request will do.
func (e *examination) exemplar(ctx context.Context) outcome {
	answer, err := e.askJSON(ctx, prometheus, "/api/v1/query_exemplars?"+url.Values{
		"query": {metric + `_bucket{job="uservice3"}`},
		"start": {fmt.Sprint(e.sent.Add(-10 * time.Minute).Unix())},
		"end":   {fmt.Sprint(time.Now().Add(time.Minute).Unix())}}.Encode())
	if err != nil {
		return e.unreachable(prometheus, err)
	}
	seen := answer.Get("data.#.exemplars|@flatten").Array()
	later := ""
	for _, exemplar := range seen {
		switch id := exemplar.Get("labels.trace_id").String(); {
		case id == e.id:
			return fine("on %s of uservice3", metric)
		case exemplar.Get("timestamp").Float() > float64(e.answered.UnixMilli())/1000:
			later = id
		}
	}
	switch {
	case later != "":
		return fine("overtaken by that of a later request, %s", later)
	case len(seen) > 0:
		return broken(metric+" has exemplars, none of them since the request", "scrape interval").yet()
	}
	return broken(metric+" of uservice3 has no trace's id", "none attached").yet()
}

// logLine looks for the request's lines in Loki.
func (e *examination) logLine(ctx context.Context) outcome {
	answer, err := e.askJSON(ctx, loki, logQL(topology.Uservice3, ` | trace_id="__id__"`))
	switch lines := answer.Get("data.result.#.values|@flatten").Array(); {
	case err != nil:
		return e.unreachable(loki, err)
	case len(lines) > 0:
		return fine("%s of uservice3 in Loki", term.Count(len(lines), "line"))
	}
	return broken("Loki has no line of uservice3 with this trace's id", "no lines sent").yet()
}
