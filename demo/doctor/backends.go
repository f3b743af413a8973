package doctor

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/tempo"
)

// search looks for the trace as somebody would who does not know its id.
func (v *visit) search(ctx context.Context) outcome {
	if out, ok := v.noSpanOf(ctx, caller, 2); !ok {
		return out
	}
	var err error
	seen := 0
	found := v.poll(ctx, v.wait(20*time.Second), "a search finds what has been idle for 3 s", func(ctx context.Context) bool {
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		var list []tempo.Summary
		list, err = v.backend.Search(ctx, tempo.Query{Tags: map[string]string{"service.name": caller}, Limit: 200,
			Start: v.sent.Add(-2 * time.Second), End: time.Now().Add(time.Second)})
		seen = len(list)
		return slices.ContainsFunc(list, func(s tempo.Summary) bool { return s.TraceID == v.id })
	})
	switch {
	case found:
		return fine("found by service and time, %.1f s after the answer", time.Since(v.answered).Seconds())
	case err != nil:
		return v.badTempo(err)
	case seen >= 200:
		return broken(fmt.Sprintf("not among the first %d traces of %s", seen, caller),
			Cause{"There is so much traffic that the search stops before it.", "examine it when less is going on"})
	}
	held := Cause{"Tempo waits longer before a trace can be searched: live_store.max_trace_idle, or it has too much to do.",
		"wait longer with -wait 60s; see live_store in conf/tempo.yaml"}
	late := Cause{"Tempo leaves the newest 30 s out of a search, its default.",
		v.change("set query_frontend.query_end_cutoff: 0s in conf/tempo.yaml", "tempo") + "; or wait longer with -wait 60s"}
	unwritten := Cause{"Tempo cannot write to /var/tempo, so that nothing gets from its memory to where a search looks.",
		v.logs("tempo")}
	clocks := Cause{"The clocks of this machine and of Tempo differ.", "date; docker compose exec traefik date"}
	detail := fmt.Sprintf("known by its id, not found by service and time in %.0f s", time.Since(v.answered).Seconds())
	switch cutoff := v.cutoff(ctx); {
	case v.o.Kind == Local:
		return broken(detail, Cause{"The collector is in trouble.", v.logs("collector")})
	case cutoff == "0s":
		return broken(detail, unwritten, held, clocks)
	case cutoff != "":
		late.Why = fmt.Sprintf("Tempo leaves the newest %s out of a search: its query_end_cutoff says so.", cutoff)
		return broken(detail, late)
	}
	return broken(detail, late, held, unwritten, clocks)
}

// cutoff asks a real Tempo how much of the present its searches leave out; empty when it does not say.
func (v *visit) cutoff(ctx context.Context) string {
	res, err := v.ask(ctx, v.o.Tempo, "/status/config", nil)
	if err != nil || !res.is2xx() {
		return ""
	}
	if m := regexp.MustCompile(`(?m)^\s*query_end_cutoff:\s*(\S+)`).FindSubmatch(res.body); m != nil {
		return string(m[1])
	}
	return ""
}

// noSpanOf skips what can only be there when a span has arrived, given by its index.
func (v *visit) noSpanOf(ctx context.Context, service string, index int) (outcome, bool) {
	if v.states[linkSpans] != OK {
		_ = v.fetch(ctx) // nobody has waited for the rest of the trace
	}
	if v.match()[index] == nil {
		return skipped(fmt.Sprintf("needs: %s (the one of %s)", linkSpans, service)), false
	}
	return outcome{}, true
}

// numbers are what Prometheus knew before the request; a series that changes afterwards is one that lives.
type numbers struct {
	calls, edge float64 // NaN-free: -1 for no series
	exemplars   map[string]bool
}

const (
	callsQuery = `sum(traces_spanmetrics_calls_total{service="` + caller + `"})`
	edgeQuery  = `sum(traces_service_graph_request_total{client="` + caller + `",server="` + callee + `"})`
	// metric is how long requests to uservice3 took, as it says itself. A job is a service, see conf/prometheus/scrape.yaml.
	metric    = `http_server_request_duration_seconds`
	durations = metric + `_bucket{job="` + caller + `"}`
)

func (v *visit) readNumbers(ctx context.Context) numbers {
	n := numbers{calls: -1, edge: -1}
	if v.o.Prometheus == "" {
		return n
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	n.calls, _ = v.number(ctx, callsQuery)
	n.edge, _ = v.number(ctx, edgeQuery)
	n.exemplars, _ = v.exemplars(ctx, durations)
	return n
}

// number asks Prometheus for one number; -1 when there is no such series.
func (v *visit) number(ctx context.Context, query string) (float64, error) {
	var answer struct {
		Data struct {
			Result []struct {
				Value [2]any `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := v.askJSON(ctx, v.o.Prometheus, "/api/v1/query", url.Values{"query": {query}}, &answer); err != nil {
		return -1, err
	}
	if len(answer.Data.Result) == 0 {
		return -1, nil
	}
	text, _ := answer.Data.Result[0].Value[1].(string)
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return -1, fmt.Errorf("%s: %q is no number", query, text)
	}
	return n, nil
}

// spanMetrics waits for the numbers that Tempo makes of the spans to move.
func (v *visit) spanMetrics(ctx context.Context) outcome {
	if v.o.Prometheus == "" {
		return absent("this stack has no Prometheus")
	}
	if out, ok := v.noSpanOf(ctx, caller, 2); !ok {
		return out
	}
	joined := v.match()[5] != nil // without it there is no edge to draw
	var calls, edge float64
	var err error
	done := v.poll(ctx, v.wait(30*time.Second), "Tempo writes to Prometheus every 5 s", func(ctx context.Context) bool {
		if calls, err = v.number(ctx, callsQuery); err != nil {
			return true
		}
		if edge, err = v.number(ctx, edgeQuery); err != nil {
			return true
		}
		return calls >= 0 && calls != v.before.calls && (!joined || edge >= 0 && edge != v.before.edge)
	})
	switch {
	case err != nil:
		return v.unreachable("prometheus", "prometheus", v.o.Prometheus, err)
	case done && joined:
		return fine("calls of %s %.0f, edge %s to %s %.0f", caller, calls, caller, callee, edge)
	case done:
		return fine("calls of %s %.0f; no edge to %s, which is not in the trace", caller, calls, callee)
	}
	switch {
	case calls >= 0 && calls != v.before.calls && edge < 0:
		return broken("span metrics are there, the service graph's are not",
			Cause{"Tempo's metrics generator runs without the processor service-graphs.",
				v.change("add it to overrides.defaults.metrics_generator.processors in conf/tempo.yaml", "tempo")})
	case calls >= 0 && calls != v.before.calls:
		return broken("span metrics move, the service graph's number does not",
			Cause{"Tempo waits for the other half of the edge: spans arrive late or not at all.", v.logs("tempo")})
	case calls >= 0:
		return broken("they are there, and stand still: this request did not count", v.noMetrics(ctx)...)
	}
	return broken("traces_spanmetrics_calls_total has no series of "+caller, v.noMetrics(ctx)...)
}

// noMetrics asks both sides why nothing comes.
func (v *visit) noMetrics(ctx context.Context) []Cause {
	receiver := Cause{"Prometheus runs without its remote-write receiver, and Tempo's numbers are refused.",
		v.change("add --web.enable-remote-write-receiver to prometheus' command in docker-compose.yaml", "prometheus")}
	generator := Cause{"Tempo makes no metrics: no processors are set for its metrics generator.",
		v.change("set overrides.defaults.metrics_generator.processors: [service-graphs, span-metrics] in conf/tempo.yaml", "tempo")}
	elsewhere := Cause{"Tempo writes to another place: metrics_generator.storage.remote_write is missing, or its URL is wrong.",
		v.logs("tempo") + " | grep -i remote"}
	flags := v.flags(ctx)
	if flags["web.enable-remote-write-receiver"] == "false" {
		receiver.Why = "Prometheus runs without its remote-write receiver (its flag says false): Tempo's numbers are refused."
		return []Cause{receiver}
	}
	sums := v.tempoNumbers(ctx, "tempo_metrics_generator_spans_received_total", "prometheus_remote_storage_samples_failed_total",
		"prometheus_remote_storage_samples_total", "prometheus_remote_storage_samples_retried_total")
	switch {
	case sums == nil:
		return []Cause{receiver, elsewhere, generator}
	case sums["tempo_metrics_generator_spans_received_total"] == 0:
		generator.Why = "Tempo makes no metrics: its metrics generator has received no span. Its processors are not set."
		return []Cause{generator}
	case sums["prometheus_remote_storage_samples_failed_total"] > 0 || sums["prometheus_remote_storage_samples_retried_total"] > 0:
		elsewhere.Why = fmt.Sprintf("Tempo cannot write its numbers: %.0f were refused, %.0f tried again. metrics_generator.storage.remote_write has a wrong URL, or what is there refuses.",
			sums["prometheus_remote_storage_samples_failed_total"], sums["prometheus_remote_storage_samples_retried_total"])
		return []Cause{elsewhere, receiver}
	case sums["prometheus_remote_storage_samples_total"] == 0:
		elsewhere.Why = "Tempo makes metrics and writes them nowhere: metrics_generator.storage.remote_write is not set."
		return []Cause{elsewhere}
	}
	return []Cause{elsewhere, generator}
}

// tempoNumbers sums series of Tempo's own metrics by name, nil when it shows none.
func (v *visit) tempoNumbers(ctx context.Context, names ...string) map[string]float64 {
	res, err := v.ask(ctx, v.o.Tempo, "/metrics", nil)
	if err != nil || !res.is2xx() {
		return nil
	}
	sums := map[string]float64{}
	for s := bufio.NewScanner(bytes.NewReader(res.body)); s.Scan(); {
		name, _, _ := strings.Cut(s.Text(), " ")
		name, _, _ = strings.Cut(name, "{")
		if !slices.Contains(names, name) {
			continue
		}
		// The value is what follows the labels; no timestamps are exposed.
		if n, err := strconv.ParseFloat(s.Text()[strings.LastIndex(s.Text(), " ")+1:], 64); err == nil {
			sums[name] += n
		}
	}
	return sums
}

// flags asks Prometheus for its command line; nil when it does not say.
func (v *visit) flags(ctx context.Context) map[string]string {
	var answer struct {
		Data map[string]string `json:"data"`
	}
	if err := v.askJSON(ctx, v.o.Prometheus, "/api/v1/status/flags", nil, &answer); err != nil {
		return nil
	}
	return answer.Data
}

// exemplars returns the trace ids that exemplars of a metric had in the last minutes.
func (v *visit) exemplars(ctx context.Context, query string) (map[string]bool, error) {
	var answer struct {
		Data []struct {
			Exemplars []struct {
				Labels map[string]string `json:"labels"`
			} `json:"exemplars"`
		} `json:"data"`
	}
	now := time.Now()
	err := v.askJSON(ctx, v.o.Prometheus, "/api/v1/query_exemplars", url.Values{"query": {query},
		"start": {strconv.FormatInt(now.Add(-10*time.Minute).Unix(), 10)}, "end": {strconv.FormatInt(now.Add(time.Minute).Unix(), 10)}}, &answer)
	if err != nil {
		return nil, err
	}
	ids := map[string]bool{}
	for _, series := range answer.Data {
		for _, e := range series.Exemplars {
			for _, name := range []string{"trace_id", "traceID"} {
				if id := e.Labels[name]; id != "" {
					ids[id] = true
				}
			}
		}
	}
	return ids, nil
}

// exemplar waits until a scrape has brought the trace's id beside uservice3's own request durations. Of several requests
// in one bucket the last one's id is kept: when newer ids come and not this one, another request takes its place.
func (v *visit) exemplar(ctx context.Context) outcome {
	if v.o.Prometheus == "" {
		return absent("this stack has no Prometheus")
	}
	if v.down["prometheus"] {
		return skipped("needs: Prometheus, which is down")
	}
	var err error
	var seen map[string]bool
	ids := []string{v.id}
	deadline := v.wait(50 * time.Second)
	third := max(time.Until(deadline)/3, 0)
	again := time.Now().Add(third)
	hit := ""
	v.poll(ctx, deadline, "Prometheus scrapes every 15 s", func(ctx context.Context) bool {
		if seen, err = v.exemplars(ctx, durations); err != nil {
			return true
		}
		newer := false
		for id := range seen {
			newer = newer || !v.before.exemplars[id]
		}
		for _, id := range ids {
			if seen[id] {
				hit = id
				return true
			}
		}
		if newer && len(ids) < 3 && time.Now().After(again) {
			again = time.Now().Add(third)
			res, err := v.get(ctx, answerTimeout, strings.TrimSuffix(v.o.Gateway, "/")+"/", caller+".localhost")
			if err == nil {
				if m := traceResponse.FindStringSubmatch(res.header.Get("traceresponse")); m != nil {
					ids = append(ids, m[1])
				}
			}
		}
		return false
	})
	switch {
	case err != nil:
		return v.unreachable("prometheus", "prometheus", v.o.Prometheus, err)
	case hit == v.id:
		return fine("on %s of %s", metric, caller)
	case hit != "":
		return fine("overtaken by newer ones; a further request's, %s, is there", hit)
	}
	return v.noExemplar(ctx, seen)
}

// noExemplar finds out on which side it went missing: metric, store, scrape or service.
func (v *visit) noExemplar(ctx context.Context, seen map[string]bool) outcome {
	series, err := v.number(ctx, `count(`+metric+`_count{job="`+caller+`"})`)
	if err != nil {
		return v.unreachable("prometheus", "prometheus", v.o.Prometheus, err)
	}
	if series <= 0 {
		notScraped := Cause{"Prometheus does not scrape " + caller + ".",
			v.change("add uservice3:9464 to conf/prometheus/scrape.yaml", "prometheus")}
		off := Cause{caller + " serves no metrics: OTEL_METRICS_EXPORTER is not prometheus.",
			v.change("set OTEL_METRICS_EXPORTER=prometheus with OTEL_EXPORTER_PROMETHEUS_HOST=0.0.0.0", caller)}
		switch health, lastError := v.target(ctx); health {
		case "":
			notScraped.Why = "Prometheus does not scrape " + caller + ": none of its targets is of that name."
			return broken("Prometheus has no "+metric+" at all", notScraped, off)
		case "up":
			return broken("Prometheus scrapes "+caller+", and it has no "+metric,
				Cause{"No request has been counted: the metrics are of another process, or otelhttp has no MeterProvider.", v.logs(caller)})
		default:
			off.Why = fmt.Sprintf("Prometheus cannot scrape %s: %s. It serves no metrics there (OTEL_METRICS_EXPORTER), or is down.", caller, lastError)
			return broken("Prometheus has no "+metric+", its target is "+health, off)
		}
	}
	storage := Cause{"Prometheus keeps no exemplars: its feature exemplar-storage is off.",
		v.change("add --enable-feature=exemplar-storage to prometheus' command in docker-compose.yaml", "prometheus")}
	scrape := Cause{"Prometheus scrapes " + caller + " in a format without exemplars: scrape_protocols lacks OpenMetrics.",
		v.change("take scrape_protocols from Prometheus' configuration, or add OpenMetricsText1.0.0", "prometheus")}
	service := Cause{caller + " attaches none: OTEL_METRICS_EXEMPLAR_FILTER is always_off, or its endpoint does not offer OpenMetrics.",
		v.change("take OTEL_METRICS_EXEMPLAR_FILTER from its environment", caller)}
	detail := metric + " is there, without this trace's id"
	if len(seen) > 0 {
		return broken(detail+"; ids of others are",
			Cause{"There is so much traffic that other requests take its place before each scrape.", "examine it when less is going on"},
			Cause{"The scrape interval is longer than was waited.", "wait longer: -wait 120s"})
	}
	detail = metric + " is there, without any trace's id"
	if flags := v.flags(ctx); flags != nil && !strings.Contains(flags["enable-feature"], "exemplar-storage") {
		storage.Why = fmt.Sprintf("Prometheus keeps no exemplars: exemplar-storage is not among its features (--enable-feature=%s).", flags["enable-feature"])
		return broken(detail, storage)
	} else if flags == nil {
		return broken(detail, storage, service, scrape)
	}
	switch v.openMetrics(ctx) {
	case "no":
		scrape.Why = "Prometheus scrapes " + caller + " in a format without exemplars: its scrape_protocols have no OpenMetrics."
		return broken(detail, scrape)
	case "yes":
		service.Why = "Prometheus would keep them and asks for OpenMetrics, so " + caller + " attaches none: OTEL_METRICS_EXEMPLAR_FILTER=always_off, or its endpoint does not offer OpenMetrics."
		return broken(detail, service)
	}
	return broken(detail, service, scrape)
}

// target asks how the scrapes of uservice3 go: "up", "down", "unknown", or empty when there is no such target.
func (v *visit) target(ctx context.Context) (health, lastError string) {
	var answer struct {
		Data struct {
			ActiveTargets []struct {
				Labels    map[string]string `json:"labels"`
				ScrapeURL string            `json:"scrapeUrl"`
				Health    string            `json:"health"`
				LastError string            `json:"lastError"`
			} `json:"activeTargets"`
		} `json:"data"`
	}
	if err := v.askJSON(ctx, v.o.Prometheus, "/api/v1/targets", url.Values{"state": {"active"}}, &answer); err != nil {
		return "", ""
	}
	for _, t := range answer.Data.ActiveTargets {
		if t.Labels["job"] == caller || strings.Contains(t.ScrapeURL, caller) {
			return t.Health, t.LastError
		}
	}
	return "", ""
}

// openMetrics asks Prometheus' configuration whether uservice3 is scraped in a format that has exemplars: "yes", "no", or
// empty when that cannot be told.
func (v *visit) openMetrics(ctx context.Context) string {
	var answer struct {
		Data struct {
			YAML string `json:"yaml"`
		} `json:"data"`
	}
	if err := v.askJSON(ctx, v.o.Prometheus, "/api/v1/status/config", nil, &answer); err != nil {
		return ""
	}
	if !strings.Contains(answer.Data.YAML, "scrape_protocols:") {
		return "yes" // the default
	}
	jobs := strings.Split(answer.Data.YAML, "\n- job_name: ")
	own := func(job string) bool { return strings.HasPrefix(job, caller) || strings.Contains(job, caller+":") }
	for i, job := range jobs {
		// The jobs of scrape_config_files are not shown: the global part says what they get by default.
		if !own(job) && (i > 0 || slices.ContainsFunc(jobs, own)) {
			continue
		}
		_, protocols, ok := strings.Cut(job, "scrape_protocols:")
		if !ok {
			continue
		}
		list, _, _ := strings.Cut(regexp.MustCompile(`\n\s*[a-z_]+:`).ReplaceAllString(protocols, "\x00"), "\x00")
		if strings.Contains(list, "OpenMetrics") || strings.Contains(list, "PrometheusProto") {
			return "yes"
		}
		return "no"
	}
	return ""
}

// lines asks Loki for log lines up to now, and returns the labels of each, structured metadata among them.
func (v *visit) lines(ctx context.Context, query string, last time.Duration, limit int) ([]map[string]string, error) {
	var answer struct {
		Data struct {
			Result []struct {
				Stream map[string]string `json:"stream"`
				Values [][]any           `json:"values"`
			} `json:"result"`
		} `json:"data"`
	}
	now := time.Now()
	err := v.askJSON(ctx, v.o.Loki, "/loki/api/v1/query_range", url.Values{"query": {query}, "limit": {strconv.Itoa(limit)},
		"start": {strconv.FormatInt(now.Add(-last).UnixNano(), 10)}, "end": {strconv.FormatInt(now.Add(time.Minute).UnixNano(), 10)}}, &answer)
	if err != nil {
		return nil, err
	}
	var labels []map[string]string
	for _, stream := range answer.Data.Result {
		for range stream.Values {
			labels = append(labels, stream.Stream)
		}
	}
	return labels, nil
}

// logLine waits for the request's lines in Loki.
func (v *visit) logLine(ctx context.Context) outcome {
	if v.o.Loki == "" {
		return absent("this stack has no Loki")
	}
	query := fmt.Sprintf(`{service_name=%q} | trace_id=%q`, caller, v.id)
	var lines []map[string]string
	var err error
	v.poll(ctx, v.wait(20*time.Second), "the log line arrives", func(ctx context.Context) bool {
		lines, err = v.lines(ctx, query, 10*time.Minute, 100)
		var starting *statusError
		if err != nil {
			return !errors.As(err, &starting) || starting.status != http.StatusServiceUnavailable && starting.status != http.StatusInternalServerError
		}
		return len(lines) > 0
	})
	switch {
	case err != nil:
		return v.unreachable("loki", "loki", v.o.Loki, err)
	case len(lines) == 1:
		return fine("1 line of %s in Loki", caller)
	case len(lines) > 1:
		return fine("%d lines of %s in Loki", len(lines), caller)
	}
	endpoint := Cause{caller + " sends no lines: OTEL_EXPORTER_OTLP_LOGS_ENDPOINT is not set, or leads elsewhere.",
		v.change("set OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=http://loki:3100/otlp/v1/logs", caller, callee) + "; " + v.logs(caller)}
	level := Cause{"Its LOG_LEVEL is above info: a request that goes well then writes no line.", v.change("set LOG_LEVEL=info", caller)}
	if others, err := v.lines(ctx, fmt.Sprintf(`{service_name=%q} |= %q`, caller, v.id), 10*time.Minute, 1); err == nil && len(others) > 0 {
		return broken("a line has the id in its text, and not as structured metadata",
			Cause{"The lines do not come over OTLP, or Loki's schema is older than v13, so that nothing beside the text is kept.",
				"see schema_config in conf/loki.yaml, and who sends the lines"})
	}
	any := fmt.Sprintf(`{service_name=%q}`, caller)
	if since, err := v.lines(ctx, any, time.Since(v.sent)+time.Second, 1); err == nil && len(since) > 0 {
		return broken("lines of "+caller+" come in, none with this trace's id",
			Cause{"The lines are written outside of the request's context, so that they carry no trace_id.", "use slog's ...Context methods"},
			level, Cause{"Lines are delayed, or were dropped on the way.", v.logs(caller)})
	}
	if older, err := v.lines(ctx, any, 10*time.Minute, 1); err == nil && len(older) > 0 {
		endpoint.Why = caller + " no longer sends its lines: OTEL_EXPORTER_OTLP_LOGS_ENDPOINT was changed, or does not answer."
		return broken("lines of "+caller+" came to Loki before, and none since the request", endpoint, level)
	}
	return broken("Loki has no line of "+caller+" at all", endpoint, level)
}
