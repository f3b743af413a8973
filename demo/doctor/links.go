package doctor

import (
	"context"
	"time"

	"example.com/grafana-tempo-go-demo/demo/topology"
)

// The links.
const (
	linkGateway     = "gateway"
	linkTraceID     = "trace id"
	linkTargets     = "targets"
	linkStore       = "trace store"
	linkHeader      = "header"
	linkSpans       = "spans"
	linkSearch      = "search"
	linkMetrics     = "span metrics"
	linkExemplar    = "exemplar"
	linkLog         = "log line"
	linkGrafana     = "grafana"
	linkDataSources = "data sources"
	linkTraceLink   = "trace link"
	linkOutside     = "ebpf spans"
)

// check examines one link.
type check struct {
	link  string
	part  string   // that it asks; a stack without it does not have the link
	needs []string // links without which there is nothing to examine
	// usual is how long to wait from the answer on, or, where nothing is needed, from the start.
	usual      time.Duration
	waitingFor string
	run        func(context.Context) outcome // nil: all questions have the answers that are wanted
}

// checks are in the order in which a request's telemetry travels.
func (e *examination) checks() []check {
	const s = time.Second
	answer, trace := []string{linkTraceID}, []string{linkTraceID, linkStore}
	list := []check{
		{linkGateway, topology.Gateway, nil, 3 * s, "the gateway may have no routes yet", e.gateway},
		{linkTraceID, topology.Gateway, []string{linkGateway}, 3 * s, "the log line arrives", e.traceID},
		{linkTargets, prometheus, nil, 20 * s, "Prometheus scrapes every 15 s", e.targets},
		{linkStore, topology.Tempo, nil, 20 * s, e.o.title(topology.Tempo) + " is starting", nil},
		{linkHeader, topology.Tempo, trace, 10 * s, "the spans arrive", e.header},
		{linkSpans, topology.Tempo, trace, 10 * s, "the spans arrive", e.spans},
		{linkSearch, topology.Tempo, trace, 20 * s, "a search finds what has been idle for 3 s", e.search},
		{linkMetrics, prometheus, trace, 30 * s, "Tempo writes to Prometheus every 5 s", e.spanMetrics},
		{linkExemplar, prometheus, answer, 50 * s, "Prometheus scrapes every 15 s", e.exemplar},
		{linkLog, loki, answer, 20 * s, "the log line arrives", e.logLine},
		{linkGrafana, grafana, nil, 20 * s, "Grafana is starting", nil},
		{linkDataSources, grafana, []string{linkGrafana}, 0, "", nil},
		{linkTraceLink, topology.Gateway, answer, 0, "", e.traceLink},
	}
	if e.o.EBPF {
		list = append(list, check{linkOutside, topology.Tempo, []string{linkGateway, linkStore}, 60 * s,
			"a program is found after some seconds, and its spans later", e.outside})
	}
	return list
}

// question asks a path of a part, and wants a value.
type question struct {
	part, path string // see ask
	value      string // where it is in the answer's JSON, see gjson; empty for the status and the body
	want       string // a regular expression; the text of no value is empty
	otherwise  cause
	about      string // the part that is asked about; without that, the question is left out
}

const (
	sources = "/api/datasources/proxy/uid/" // the data source of a part has its name
	flags   = "/api/v1/status/flags"
	jobs    = "/api/v1/scrape_pools"
	stream  = "data.result.0.stream"
)

// questions are by link: what a check asks that has no code of its own, and what others ask when
// something is missing until the end. The first wrong answer is the cause.
var questions = map[string][]question{
	linkStore: {
		{topology.Tempo, "/ready", "", `^(200|503) `, "other program", ""},
		{topology.Tempo, "/ready", "", `^200 `, "tempo starting", ""},
	},
	linkSpans: {
		{prometheus, query(`sum by (job) (increase(otel_sdk_processor_span_processed_total{error_type!=""}[5m])) > 0` +
			` or sum by (job) (increase(otel_sdk_exporter_span_exported_total{error_type!=""}[5m])) > 0`),
			"data.result.0.metric.job", `^$`, "spans dropped", ""},
	},
	linkMetrics: {
		{prometheus, jobs, `data.scrapePools.#(=="span-metrics")`, `^$`, "collector counts", ""},
		{prometheus, flags, `data.web\.enable-remote-write-receiver`, `^(true|)$`, "receiver off", ""},
	},
	linkExemplar: {
		{prometheus, query(`count(` + metric + `_count{job="uservice3"})`), "data.result.0", `.`, "no metrics served", ""},
		{prometheus, flags, "data.enable-feature", "exemplar-storage", "feature not enabled", ""},
	},
	linkLog: {
		{loki, logQL(topology.Uservice3, ` |= "__id__"`), stream, `^$`, "no structured metadata", ""},
		{loki, logQL(topology.Uservice3, ""), stream, `^$`, "lines lost", ""},
	},
	linkGrafana: {
		{grafana, "/api/health", "database", `^ok$`, "no database", ""},
	},
	linkDataSources: {
		{grafana, sources + "tempo/api/echo", "", `^(200|404|5..) `, "visitors not let in", topology.Tempo},
		{grafana, sources + "tempo/api/echo", "", `^200 `, "data source", topology.Tempo},
		{grafana, sources + "prometheus/api/v1/query?query=1", "", `^200 `, "data source", prometheus},
		{grafana, sources + "loki/loki/api/v1/labels", "", `^200 `, "data source", loki},
	},
}
