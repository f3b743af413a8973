package doctor

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"
	"go.yaml.in/yaml/v3"

	"example.com/grafana-tempo-go-demo/demo/ledger"
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
	v.before.exemplars, _ = v.exemplars(ctx)
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
	case counted && edge < 0:
		return broken("span metrics are there, the service graph's are not", "no service graphs").yet()
	case counted:
		return broken("span metrics move, the service graph's number does not", "half an edge").yet()
	case calls >= 0:
		return missing("they are there, and stand still: this request did not count", v.noMetrics)
	}
	return missing("traces_spanmetrics_calls_total has no series of uservice3", v.noMetrics)
}

// noMetrics asks both sides why nothing comes.
func (v *visit) noMetrics(ctx context.Context, detail string) outcome {
	if v.o.override != "" {
		return broken(detail, "collector counts")
	}
	sums := v.tempoNumbers(ctx)
	refused := sums["prometheus_remote_storage_samples_failed_total"]
	retried := sums["prometheus_remote_storage_samples_retried_total"]
	switch {
	case v.flag(ctx, "web.enable-remote-write-receiver") == "false":
		return broken(detail, "receiver off")
	case len(sums) == 0:
		return broken(detail, "no receiver", "written elsewhere", "no processors")
	case sums["tempo_metrics_generator_spans_received_total"] == 0:
		return broken(detail, "generator without spans")
	case refused > 0 || retried > 0:
		return broken(detail, "writing fails", "no receiver").with(fmt.Sprintf("%.0f were refused, %.0f tried again", refused, retried))
	case sums["prometheus_remote_storage_samples_total"] == 0:
		return broken(detail, "written nowhere")
	}
	return broken(detail, "written elsewhere", "no processors")
}

// sample is a line of Tempo's own metrics: a name, labels and a value, without a timestamp.
var sample = regexp.MustCompile(`(?m)^(\w+)(?:\{.*\})? (\S+)$`)

// tempoNumbers sums Tempo's own metrics by name, whatever their labels; none when it shows none.
func (v *visit) tempoNumbers(ctx context.Context) map[string]float64 {
	sums := map[string]float64{}
	res, _ := v.ask(ctx, topology.Tempo, "/metrics", nil)
	for _, m := range sample.FindAllSubmatch(res.body, -1) {
		if n, err := strconv.ParseFloat(string(m[2]), 64); err == nil {
			sums[string(m[1])] += n
		}
	}
	return sums
}

// flag asks Prometheus for a flag of its command line; empty when it does not say.
func (v *visit) flag(ctx context.Context, name string) string {
	answer, _ := v.askJSON(ctx, prometheus, "/api/v1/status/flags", nil)
	return answer.Get("data." + gjson.Escape(name)).String()
}

// metric is uservice3's own request durations. A job is a service: conf/prometheus/scrape.yaml.
const metric = `http_server_request_duration_seconds`

// exemplars returns the trace ids that exemplars of uservice3's metric had in the last minutes.
func (v *visit) exemplars(ctx context.Context) (map[string]bool, error) {
	now := time.Now()
	answer, err := v.askJSON(ctx, prometheus, "/api/v1/query_exemplars", url.Values{
		"query": {metric + `_bucket{job="uservice3"}`},
		"start": {strconv.FormatInt(now.Add(-10*time.Minute).Unix(), 10)},
		"end":   {strconv.FormatInt(now.Add(time.Minute).Unix(), 10)}})
	ids := map[string]bool{}
	for _, id := range answer.Get("data.#.exemplars.#.labels.trace_id|@flatten").Array() {
		ids[id.String()] = true
	}
	return ids, err
}

// exemplar waits until a scrape has brought the trace's id beside uservice3's request durations. Of
// several requests in one bucket the last one's id is kept: when other ids come and not this one,
// up to two further requests are sent and looked for.
func (v *visit) exemplar(ctx context.Context) outcome {
	seen, err := v.exemplars(ctx)
	if err != nil {
		return v.unreachable(prometheus, err)
	}
	if seen[v.id] {
		return fine("on %s of uservice3", metric)
	}
	for _, id := range v.further {
		if seen[id] {
			return fine("overtaken by newer ones; a further request's, %s, is there", id)
		}
	}
	overtaken := false
	for id := range seen {
		overtaken = overtaken || !v.before.exemplars[id]
	}
	n := len(v.further) + 1
	if next := v.began.Add(v.deadline.Sub(v.began) * time.Duration(n) / 3); overtaken && n < 3 && time.Now().After(next) {
		res, _ := v.request(ctx)
		if h := ledger.Decode("traceresponse", res.header.Get("traceresponse")); h.Valid {
			v.further = append(v.further, h.TraceID)
		}
	}
	if len(seen) > 0 {
		return broken(metric+" is there, without this trace's id; ids of others are", "others overtake", "scrape interval").yet()
	}
	return missing(metric+" is there, without any trace's id", v.noExemplar)
}

// noExemplar finds out on which side it went missing: metric, store, scrape or service.
func (v *visit) noExemplar(ctx context.Context, detail string) outcome {
	series, err := v.number(ctx, `count(`+metric+`_count{job="uservice3"})`)
	switch {
	case err != nil:
		return v.unreachable(prometheus, err)
	case series <= 0:
		return v.noDurations(ctx)
	}
	features := v.flag(ctx, "enable-feature")
	protocols, err := v.scrapeProtocols(ctx)
	have := func(p string) bool { return strings.HasPrefix(p, "OpenMetrics") || p == "PrometheusProto" }
	switch {
	case !strings.Contains(features, "exemplar-storage"):
		return broken(detail, "feature not enabled").with(features)
	case err != nil:
		return broken(detail, "none attached", "scraped without exemplars")
	case len(protocols) > 0 && !slices.ContainsFunc(protocols, have):
		return broken(detail, "protocols without exemplars")
	}
	return broken(detail, "none attached for sure")
}

// noDurations tells why Prometheus has no request durations of uservice3.
func (v *visit) noDurations(ctx context.Context) outcome {
	answer, _ := v.askJSON(ctx, prometheus, "/api/v1/targets", url.Values{"state": {"active"}})
	target := answer.Get(`data.activeTargets.#(labels.job=="uservice3")`)
	switch health := target.Get("health").String(); health {
	case "":
		return broken("Prometheus has no "+metric+" at all", "not scraped", "no metrics served")
	case "up":
		return broken("Prometheus scrapes uservice3, and it has no "+metric, "nothing counted")
	default:
		return broken("Prometheus has no "+metric+", its target is "+health, "scrape fails").with(target.Get("lastError").String())
	}
}

// scrapeProtocols asks Prometheus for the formats in which it scrapes uservice3; none are its
// default. Jobs of scrape_config_files are not shown, and have the global list by default.
func (v *visit) scrapeProtocols(ctx context.Context) ([]string, error) {
	type formats struct {
		Job       string   `yaml:"job_name"`
		Protocols []string `yaml:"scrape_protocols"`
	}
	var config struct {
		Global formats
		Jobs   []formats `yaml:"scrape_configs"`
	}
	answer, err := v.askJSON(ctx, prometheus, "/api/v1/status/config", nil)
	err = cmp.Or(err, yaml.Unmarshal([]byte(answer.Get("data.yaml").String()), &config))
	protocols := config.Global.Protocols
	for _, job := range config.Jobs {
		if job.Job == topology.Uservice3 {
			protocols = job.Protocols
		}
	}
	return protocols, err
}
