package doctor

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// The links that others need.
const (
	linkGateway = "gateway"
	linkTraceID = "trace id"
	linkStore   = "trace store"
	linkHeader  = "header"
	linkSpans   = "spans"
	linkGrafana = "grafana"
)

// check examines one link.
type check struct {
	link  string
	part  string   // that it asks; a stack without it does not have the link
	needs []string // links without which there is nothing to examine
	// usual is how long to wait from the answer on, or, where no trace is needed, from the start.
	usual      time.Duration
	waitingFor string
	run        func(context.Context) Link // nil: all questions have the answers that are wanted
	questions  []question                 // the first wrong answer is the cause
}

// question asks a path of a part, and wants a value.
type question struct {
	what      string // is asked for; a part of which it is asked, only if the stack has that
	path      string // see filled
	value     string // where it is in the answer's JSON, see gjson; empty for the status and the body
	want      string // a regular expression; the text of no value is empty, and several have commas between
	otherwise []cause
}

const (
	sources = "/api/datasources/proxy/uid/" // the data source of a part has its name
	first   = "data.result.0"
)

// checks are in the order in which a request's telemetry travels.
func (e *examination) checks() []check {
	const s = time.Second
	answer, trace := []string{linkTraceID}, []string{linkTraceID, linkStore}
	arrived := []string{linkTraceID, linkSpans}
	list := []check{
		{linkGateway, topology.Gateway, nil, 3 * s, "the gateway may have no routes yet", e.gateway, nil},
		{linkTraceID, topology.Gateway, []string{linkGateway}, 3 * s, "the log line arrives", e.traceID, nil},
		{linkStore, topology.Tempo, nil, 20 * s, e.o.name(topology.Tempo) + " is starting", nil, []question{
			{"ready", "/ready", "", `^200 `, []cause{"tempo starting"}},
		}},
		{"targets", prometheus, nil, 20 * s, "Prometheus scrapes every 15 s", nil, []question{
			{"targets of Prometheus", promQL(notUp), "data.result.#.metric.who", `^$`, []cause{"target down"}},
		}},
		{linkHeader, topology.Gateway, answer, 10 * s, "the log lines arrive", e.header, nil},
		{linkSpans, topology.Tempo, trace, 10 * s, "the spans arrive", e.spans, nil},
		{"search", topology.Tempo, arrived, 20 * s, "a search finds what has been idle for 3 s", nil, []question{
			{"the trace, by service and time", searched("resource.service.name=%q", topology.Uservice3),
				`traces.#(traceID%"*__short__")`, `.`, []cause{"held back"}},
		}},
		{"span metrics", prometheus, arrived, 30 * s, "Tempo writes to Prometheus every 5 s", nil, []question{
			{"calls of uservice3", promQL(counted(`traces_spanmetrics_calls_total{service="uservice3"}`)),
				first, `.`, []cause{"no metrics made"}},
			{"calls of uservice4 by uservice3",
				promQL(counted(`traces_service_graph_request_total{client="uservice3",server="uservice4"}`)),
				first, `.`, []cause{"no metrics made"}},
		}},
		// Of several requests in one bucket the last one's exemplar is kept: that of a later request will do.
		{"exemplar", prometheus, answer, 50 * s, "Prometheus scrapes every 15 s", nil, []question{
			{"one of this request or a later one", "/api/v1/query_exemplars?start=__since__&end=__until__&query=" +
				url.QueryEscape(`http_server_request_duration_seconds_bucket{job="uservice3"}`),
				`data.#.exemplars|@flatten|#(timestamp>=__sent__)`, `trace_id`, []cause{"no exemplar"}},
		}},
		{"log line", loki, answer, 20 * s, "the log line arrives", nil, []question{
			{"a line of uservice3 with the trace's id", logQL(topology.Uservice3, ` | trace_id="__id__"`),
				first, `.`, []cause{"no log line"}},
		}},
		{linkGrafana, grafana, nil, 20 * s, "Grafana is starting", nil, []question{
			{"database", "/api/health", "database", `^ok$`, []cause{"no database"}},
		}},
		{"data sources", grafana, []string{linkGrafana}, 0, "", nil, []question{
			{topology.Tempo, sources + "tempo/api/echo", "", `^200 `, []cause{"data source"}},
			{prometheus, sources + "prometheus/api/v1/query?query=1", "", `^200 `, []cause{"data source"}},
			{loki, sources + "loki/loki/api/v1/labels", "", `^200 `, []cause{"data source"}},
		}},
		{"trace link", topology.Gateway, answer, 0, "", e.traceLink, nil},
	}
	if e.o.EBPF {
		seen := check{"ebpf spans", topology.Tempo, []string{linkGateway, linkStore}, 20 * s, "spans of the kernel arrive later", nil, nil}
		for _, service := range []string{topology.Uservice1, topology.Uservice2} {
			seen.questions = append(seen.questions, question{"spans that the kernel made of " + service,
				searched("resource.service.name=%q && resource.telemetry.distro.name=%q", service, tempo.OutsideDistro),
				"traces.0", `.`, []cause{"ebpf not running", "ebpf lacks rights"}})
		}
		list = append(list, seen)
	}
	return list
}

// vain asks for the endpoint that a service says it cannot reach, when spans are missing. The last line
// decides: after an outage it says that spans arrive again.
var vain = question{"", strings.Replace(logQL("uservice[34]",
	` | what="spans" |~ "(does not reach|reaches) the back end"`), "limit=100", "limit=1", 1),
	`data.result.#(values.0.1%"*does not reach*").stream.endpoint`, `^$`, []cause{"endpoint in vain"}}

// notUp is PromQL that names targets that do not answer, and jobs without any, as when the name of their
// containers is gone. Prometheus counts a job's targets among its own metrics.
const notUp = `label_replace(label_join(up == 0, "who", " at ", "job", "instance"), "who", "$1 (down)", "who", "(.*)") or ` +
	`label_replace(prometheus_target_scrape_pool_targets == 0, "who", "$1 (nothing has this name)", "scrape_job", "(.*)")`

// promQL is the path of Prometheus that answers a query in PromQL.
func promQL(query string) string { return "/api/v1/query?" + url.Values{"query": {query}}.Encode() }

// counted is PromQL that has a result if a counter has changed since the request was sent.
func counted(metric string) string {
	return fmt.Sprintf("sum(%s) != (sum(%[1]s @ __sent__) or vector(0))", metric)
}

// logQL is the path of Loki that finds lines of services, a regular expression.
func logQL(services, filter string) string {
	query := url.QueryEscape(fmt.Sprintf(`{service_name=~%q}`, services) + filter)
	return "/loki/api/v1/query_range?limit=100&start=__since__&query=" + query
}

// searched is the path of Tempo that searches for traces of about now, of which a condition holds.
func searched(condition string, args ...any) string {
	return "/api/search?limit=200&start=__just__&end=__until__&q=" + url.QueryEscape("{"+fmt.Sprintf(condition, args...)+"}")
}
