package doctor

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
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
	alone               bool    // there with the collector's override alone, too
	back                bool    // no trouble any more once the request's trace has arrived
	none, few           []cause // what it means that none is left, or there is trouble; and that some are gone
}

// stages begin with what others depend on, so that the first cause is the root of the rest.
var stages = []stage{
	{trouble: "Kafka does not answer", back: true, none: []cause{"kafka away"},
		query: grows(`{__name__=~"tempo_(distributor|ingest_storage_reader)_connect_errors_total"}`, "distributor")},
	{trouble: "S3 does not answer", query: grows("tempodb_blocklist_poll_errors_total", "tempo|querier"), none: []cause{"s3 away"}},
	{job: "collector-balancer", none: []cause{"no balancer"}},
	{job: "collector", none: []cause{"no collector"}, few: []cause{"a collector less"}, alone: true},
	{job: "distributor", none: []cause{"no distributor"}, few: []cause{"one less"}},
	{job: "live-store", none: []cause{"no live-store"}, few: []cause{"a live-store less"}},
	{job: "querier", none: []cause{"no querier"}, few: []cause{"one less"}},
	{job: "block-builder", none: []cause{"no block-builder"}},
	{job: "metrics-generator", none: []cause{"no metrics-generator"}},
	{job: "backend-scheduler", none: []cause{"no backend work"}},
	{job: "backend-worker", none: []cause{"no backend work"}},
	{trouble: "a collector has no room for more spans", none: []cause{"collector full"}, alone: true,
		query: `sum(otelcol_exporter_queue_size >= otelcol_exporter_queue_capacity) or ` +
			grows(`{__name__=~"otelcol_exporter_enqueue_failed_spans|otelcol_receiver_refused_spans"}`, "collector")},
	{trouble: "a collector cannot send its spans on", none: []cause{"collector stuck"}, alone: true, back: true,
		query: `sum(otelcol_exporter_queue_size` + fresh + `) > 0 or ` + grows("otelcol_exporter_send_failed_spans", "collector")},
}

// fresh limits a query to what is still scraped: every 15 s, which takes 10 s at most. Prometheus
// shows the last numbers of a target that has lost its name for longer.
const (
	stale = 26 * time.Second
	fresh = ` and on (job, instance) timestamp(up) > time() - 26`
)

const (
	// Spans that a collector had no room for, or could not send for five minutes.
	lostQuery = `sum({__name__=~"otelcol_exporter_(enqueue|send)_failed_spans"}` + fresh + `)`
	// Traces that collectors have decided on, and those among them that they did not keep.
	decidedQuery   = `sum(otelcol_processor_tail_sampling_global_count_traces_sampled` + fresh + `)`
	unsampledQuery = `sum(otelcol_processor_tail_sampling_global_count_traces_sampled{sampled="false"}` + fresh + `)`
	// Another stack may have been there before. A change of the override starts Prometheus again.
	startQuery = `process_start_time_seconds{job="prometheus"}`
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
	var names []cause
	running := 0
	began, _ := v.number(ctx, startQuery)
	for _, s := range stages {
		if v.o.override != scale && !s.alone {
			continue
		}
		now := time.Now()
		series, err := v.lastHour(ctx, s, int64(began), now)
		if err != nil {
			return skipped("not known: Prometheus does not answer")
		}
		if len(series) == 0 && s.job != "" {
			unknown = append(unknown, s.job)
			continue
		}
		up, found, since, causes := s.judge(series)
		running += up
		if found == "" || s.back && (s.alone && len(names) > 0 || v.whole(ctx)) { // others say why
			continue
		}
		when := "since about " + now.Add(time.Duration(since-ticks)*tick).Format("15:04")
		if since == 0 {
			when = map[bool]string{true: "for an hour or longer", false: "not once as far as Prometheus knows"}[s.job == ""]
		}
		details, names = append(details, found+", "+when), append(names, causes...)
	}
	return v.told(ctx, running, details, unknown, slices.Compact(names))
}

// judge says how many of a job are up, what is wrong, since which tick, and what it means.
func (s stage) judge(series []map[int]bool) (up int, found string, since int, causes []cause) {
	if s.job == "" {
		if len(series) > 0 && series[0][ticks] {
			found, since = s.trouble, lastTick(func(i int) bool { return !series[0][i] })
		}
		return 0, found, since, s.none
	}
	ups, want := count(series)
	if up = ups[ticks]; up >= want {
		return up, "", 0, nil
	}
	if causes = s.none; up > 0 {
		causes = s.few
	}
	since = lastTick(func(i int) bool { return ups[i] >= want })
	return up, fmt.Sprintf("%s: %d of %d up", s.job, up, want), since, causes
}

// told puts it all into one sentence.
func (v *visit) told(ctx context.Context, running int, details, unknown []string, names []cause) outcome {
	if running == 0 && len(names) == 0 {
		return skipped("not known: Prometheus has scraped none of its parts")
	}
	if len(unknown) > 0 {
		details = append(details, "not scraped, so not known: "+strings.Join(unknown, ", "))
	}
	if lost, _ := v.number(ctx, lostQuery); lost > 0 {
		details = append(details, fmt.Sprintf("collectors have lost %.0f spans since they started", lost))
	}
	if dropped, _ := v.number(ctx, unsampledQuery); dropped > 0 {
		decided, _ := v.number(ctx, decidedQuery)
		details = append(details, fmt.Sprintf("of %.0f traces collectors did not keep %.0f, as TRACES_SHARE tells them", decided, dropped))
	}
	if len(names) > 0 {
		return broken(strings.Join(details, "; "), names...)
	}
	all := fmt.Sprintf("%d parts up, no trouble with Kafka or S3", running)
	if v.o.override == collectors {
		all = fmt.Sprintf("%d collector up, with room for spans", running)
	}
	return fine("%s", strings.Join(append([]string{all}, details...), "; "))
}

// The last hour is looked at in ticks, as long as the time between two scrapes.
const (
	tick  = 15 * time.Second
	ticks = int(time.Hour / tick)
)

// lastHour asks Prometheus for each series of a stage: whether it was up, or there was trouble, at
// each step from 0 to ticks, which is now. A step without a value has no entry; nor has what was
// before Prometheus began.
func (v *visit) lastHour(ctx context.Context, s stage, began int64, now time.Time) (series []map[int]bool, err error) {
	query := s.query
	if s.job != "" {
		query = fmt.Sprintf("up{job=%q}", s.job) + fresh
	}
	start := now.Add(-time.Hour).Unix()
	answer, err := v.askJSON(ctx, prometheus, "/api/v1/query_range", url.Values{"query": {query},
		"start": {strconv.FormatInt(start, 10)}, "end": {strconv.FormatInt(now.Unix(), 10)}, "step": {"15"}})
	for _, values := range answer.Get("data.result.#.values").Array() {
		at := map[int]bool{}
		for _, value := range values.Array() {
			if t := value.Get("0").Int(); t >= began {
				at[int(t-start)/15] = s.job == "" || value.Get("1").String() == "1"
			}
		}
		if len(at) > 0 {
			series = append(series, at)
		}
	}
	return series, err
}

// count says how many were up at each step, and how many should be: the targets that there are, or
// as many as were up for a minute. Prometheus forgets a target whose name leads nowhere.
func count(series []map[int]bool) (up []int, want int) {
	up = make([]int, ticks+1)
	for _, at := range series {
		for i, isUp := range at {
			if isUp {
				up[i]++
			}
		}
		if _, isTarget := at[ticks]; isTarget {
			want++
		}
	}
	for i := 4; i <= ticks; i++ {
		want = max(want, slices.Min(up[i-4:i+1]))
	}
	return up, want
}

// lastTick is the first step of the time up to now in which nothing was good; 0 for the whole hour.
func lastTick(good func(i int) bool) int {
	for i := ticks; i >= 0; i-- {
		if good(i) {
			return i + 1
		}
	}
	return 0
}
