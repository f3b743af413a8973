package doctor

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/topology"
)

// The overrides of docker-compose.yaml that put more between senders and traces than one Tempo.
const (
	collectors = "collector"
	scale      = "scale"
)

// look finds out which override the stack has, if any. Tempo says which of its parts are in the
// process that answers, Prometheus what it is told to scrape.
func (v *visit) look(ctx context.Context) {
	if v.o.Kind == Local {
		return
	}
	services, _ := v.ask(ctx, topology.Tempo, "/status/services", nil)
	pools, _ := v.askJSON(ctx, prometheus, "/api/v1/scrape_pools", nil)
	has := func(part string) bool { return bytes.Contains(services.body, []byte(part)) }
	scraped := func(job string) bool { return pools.Get(`data.scrapePools.#(=="` + job + `")`).Exists() }
	switch {
	case has("query-frontend") && !has("distributor"), services.status != http.StatusOK && scraped("distributor"):
		v.o.override = scale
	case scraped("collector"):
		v.o.override = collectors
	}
}

// stage is a job in Prometheus (conf/scale/scrape.yaml), or what the parts say of something that
// they need: a query that has a result while there is trouble.
type stage struct {
	job, trouble, query string
	alone               bool  // there with the collector's override alone, too
	back                bool  // no trouble any more once the request's trace has arrived
	none, few           cause // what it means that none is left, or there is trouble; and that some are gone
}

// stages begin with what others depend on, so that the first cause is the root of the rest.
var stages = []stage{
	{trouble: "Kafka does not answer", back: true, none: "kafka away",
		query: grows(`{__name__=~"tempo_(distributor|ingest_storage_reader)_connect_errors_total"}`, "distributor")},
	{trouble: "S3 does not answer", query: grows("tempodb_blocklist_poll_errors_total", "tempo|querier"), none: "s3 away"},
	{job: "collector-balancer", none: "no balancer"},
	{job: "collector", none: "no collector", few: "a collector less", alone: true},
	{job: "distributor", none: "no distributor", few: "one less"},
	{job: "live-store", none: "no live-store", few: "a live-store less"},
	{job: "querier", none: "no querier", few: "one less"},
	{job: "block-builder", none: "no block-builder"},
	{job: "metrics-generator", none: "no metrics-generator"},
	{job: "backend-scheduler", none: "no backend work"},
	{job: "backend-worker", none: "no backend work"},
	{trouble: "a collector has no room for more spans", none: "collector full", alone: true,
		query: `sum(otelcol_exporter_queue_size >= otelcol_exporter_queue_capacity) or ` +
			grows(`{__name__=~"otelcol_exporter_enqueue_failed_spans|otelcol_receiver_refused_spans"}`, "collector")},
	{trouble: "a collector cannot send its spans on", none: "collector stuck", alone: true, back: true,
		query: `sum(otelcol_exporter_queue_size` + fresh + `) > 0 or ` + grows("otelcol_exporter_send_failed_spans", "collector")},
}

// stale is the age of what is not scraped any more: that is every 15 s, and takes 10 s at most. Prometheus
// shows the last numbers of a target that has lost its name for longer.
const stale = 26 * time.Second

// fresh limits a query to what is still scraped.
var fresh = fmt.Sprintf(` and on (job, instance) timestamp(up) > time() - %.0f`, stale.Seconds())

// Traces that collectors have decided on, and those among them that they did not keep.
var (
	decidedQuery   = `sum(otelcol_processor_tail_sampling_global_count_traces_sampled` + fresh + `)`
	unsampledQuery = `sum(otelcol_processor_tail_sampling_global_count_traces_sampled{sampled="false"}` + fresh + `)`
)

const (
	// How many seconds Prometheus has run. A change of the override starts it again, and another stack
	// may have been there before.
	ageQuery = `time() - process_start_time_seconds{job="prometheus"}`
	// The most parts that were up in five scrapes one after the other. Prometheus forgets a target whose name
	// leads nowhere, and while a part is replaced, both the old and the new one may be up.
	mostQuery = `max_over_time(min_over_time(%s[75s:15s])[%.0fs:15s])`
	// The last time at which there was no such trouble.
	goodQuery = `max_over_time((vector(time()) unless on() (%s))[%.0fs:15s])`
)

// grows asks whether a counter has grown in the last scrapes. One that has counted nothing has no
// series, and of a job that was not there before nothing is known.
func grows(counter, job string) string {
	return fmt.Sprintf(`sum(%s) > (sum(%[1]s offset 30s) or 0 * sum(up{job=~"%s"} offset 30s))`, counter, job)
}

// pipeline waits until all has been scraped after the request, or is known not to be scraped. A trace
// that is not there may wait in a collector, which takes up to six seconds to decide.
func (v *visit) pipeline(ctx context.Context) outcome {
	since := v.sent
	if v.id != "" && !v.whole(ctx) {
		since = v.answered.Add(7 * time.Second)
	}
	scraped, err := v.number(ctx, "min(timestamp(up))")
	switch {
	case err != nil:
		return skipped("not known: Prometheus does not answer")
	case scraped < float64(since.Unix()) && time.Since(v.sent) < stale:
		return skipped("not known: Prometheus has not scraped all of it since the request").yet()
	}
	return v.stuck(ctx)
}

// whole reports whether all spans of the request have arrived.
func (v *visit) whole(ctx context.Context) bool {
	return v.fetch(ctx) == nil && !slices.Contains(v.match(), nil)
}

// stuck names what keeps spans from becoming traces that are found.
func (v *visit) stuck(ctx context.Context) outcome {
	var details, unknown []string
	var causes []cause
	running, hour := 0.0, time.Hour.Seconds()
	if age, _ := v.number(ctx, ageQuery); age >= 0 {
		hour = min(hour, age)
	}
	for _, s := range stages {
		if v.o.override != scale && !s.alone {
			continue
		}
		trouble, found, why := s.query, s.trouble, s.none
		if s.job != "" {
			query := fmt.Sprintf(`(sum(up{job=%q}%s) or vector(0))`, s.job, fresh)
			up, err := v.number(ctx, query)
			targets, _ := v.number(ctx, fmt.Sprintf(`count(up{job=%q}%s)`, s.job, fresh))
			most, _ := v.number(ctx, fmt.Sprintf(mostQuery, query, hour))
			want := max(targets, most)
			if err == nil && want <= 0 {
				unknown = append(unknown, s.job)
				continue
			}
			if running += up; up > 0 {
				why = s.few
			}
			trouble, found = fmt.Sprintf(`%s < %.0f`, query, want), fmt.Sprintf("%s: %.0f of %.0f up", s.job, up, want)
		}
		n, err := v.number(ctx, trouble)
		if err != nil {
			return skipped("not known: Prometheus does not answer")
		}
		if n < 0 || s.back && (s.alone && len(causes) > 0 || v.whole(ctx)) { // others say why
			continue
		}
		when := "for as long as is known"
		if good, _ := v.number(ctx, fmt.Sprintf(goodQuery, trouble, hour)); good > 0 {
			when = "since about " + time.Unix(int64(good), 0).Format("15:04")
		}
		details = append(details, found+", "+when)
		if why != "" {
			causes = append(causes, why)
		}
	}
	return v.told(ctx, running, details, unknown, slices.Compact(causes))
}

// told puts it all into one sentence.
func (v *visit) told(ctx context.Context, running float64, details, unknown []string, causes []cause) outcome {
	if running == 0 && len(causes) == 0 {
		return skipped("not known: Prometheus has scraped none of its parts")
	}
	if len(unknown) > 0 {
		details = append(details, "not scraped, so not known: "+strings.Join(unknown, ", "))
	}
	if dropped, _ := v.number(ctx, unsampledQuery); dropped > 0 {
		decided, _ := v.number(ctx, decidedQuery)
		details = append(details, fmt.Sprintf("collectors did not keep %.0f of %.0f traces, as TRACES_SHARE tells them",
			dropped, decided))
	}
	if len(causes) > 0 {
		return broken(strings.Join(details, "; "), causes...)
	}
	all := fmt.Sprintf("%.0f parts up, no trouble with Kafka or S3", running)
	if v.o.override == collectors {
		all = fmt.Sprintf("%.0f collector up, with room for spans", running)
	}
	return fine("%s", strings.Join(append([]string{all}, details...), "; "))
}
