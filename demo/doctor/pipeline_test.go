package doctor

import (
	"strconv"
	"strings"
	"time"
)

// pipelineCases are stacks with an override, with what a real Prometheus had scraped of the real
// parts, each of them killed or stopped in deploy/compose/scale.yaml's stack half a minute before.
var pipelineCases = []sick{
	{"microservices are well", atScale, ""},
	{"Kafka is stopped", func(f *fake) {
		atScale(f)
		f.trouble = "connect_errors"
		f.spans = nil
	}, linkPipeline},
	{"Kafka was away", func(f *fake) {
		atScale(f)
		f.trouble = "connect_errors"
	}, ""},
	{"S3 is stopped", func(f *fake) {
		atScale(f)
		f.trouble = "poll_errors"
		f.traceStatus = 500
	}, linkPipeline},
	{"one live-store is killed", func(f *fake) { atScale(f); f.up["live-store"] = parts{1, 2} }, linkPipeline},
	{"both live-stores are killed", func(f *fake) {
		atScale(f)
		f.up["live-store"] = parts{0, 2}
		f.traceStatus = 500
	}, linkPipeline},
	{"a querier is killed", func(f *fake) { atScale(f); f.up["querier"] = parts{1, 2} }, linkPipeline},
	{"all queriers are killed", func(f *fake) {
		atScale(f)
		f.up["querier"] = parts{0, 2}
		f.tempoReady = 503
	}, linkPipeline},
	{"the scheduler is killed", func(f *fake) { atScale(f); f.up["backend-scheduler"] = parts{0, 1} }, linkPipeline},
	{"a collector is full", func(f *fake) {
		atScale(f)
		f.up["distributor"] = parts{0, 2}
		f.trouble = "queue_capacity"
		f.spans = nil
	}, linkPipeline},
	{"a part was never there", func(f *fake) {
		atScale(f)
		delete(f.up, "metrics-generator")
		f.up["backend-worker"], f.never = parts{0, 1}, true
	}, linkPipeline},
	{"microservices are not scraped yet", func(f *fake) { atScale(f); clear(f.up) }, ""},
	{"microservices were scraped before the request", func(f *fake) { atScale(f); f.ago = 20 * time.Second }, ""},
	{"spans wait, and microservices are not scraped yet", func(f *fake) {
		atScale(f)
		clear(f.up)
		f.spans = nil
	}, linkSpans},
	{"microservices without a Prometheus that answers", func(f *fake) { atScale(f); f.down[prometheus] = true }, linkMetrics},
	{"a collector keeps a share", func(f *fake) {
		withCollector(f)
		f.numbers[decidedQuery], f.numbers[unsampledQuery] = 50, 41
	}, ""},
	{"the collector does not keep the trace", func(f *fake) {
		withCollector(f)
		f.numbers[decidedQuery], f.numbers[unsampledQuery] = 50, 41
		f.spans = nil
	}, linkSpans},
	{"the collector does not find Tempo again", func(f *fake) {
		withCollector(f)
		f.trouble = "sum(otelcol_exporter_queue_size and"
		f.spans = nil
	}, linkPipeline},
	{"the collector counts nothing", func(f *fake) { withCollector(f); f.noCalls = true }, linkMetrics},
	{"the collector is killed", func(f *fake) {
		withCollector(f)
		f.up["collector"] = parts{0, 1}
		f.spans = nil
	}, linkPipeline},
}

// parts are how many of a job are up, and were.
type parts struct{ up, most int }

func atScale(f *fake) {
	f.override, f.numbers, f.up = scale, map[string]int{}, map[string]parts{}
	for _, s := range stages {
		f.up[s.job] = parts{1, 1}
		if s.few != "" {
			f.up[s.job] = parts{2, 2}
		}
	}
}

func withCollector(f *fake) {
	atScale(f)
	f.override = collectors
	f.up = map[string]parts{"collector": {1, 1}}
}

// scraped answers what is asked of parts and their troubles. What Prometheus makes of the queries is
// tested in e2e/config.
func (f *fake) scraped(query string) (n int, known bool) {
	for job, p := range f.up {
		switch {
		case !strings.Contains(query, "up{job="+strconv.Quote(job)+"}"):
		case strings.HasPrefix(query, "max_over_time(min"):
			return p.most, true
		case strings.Contains(query, "unless"):
			return int(time.Now().Unix()), !f.never
		default:
			return p.up, !strings.Contains(query, "<") || p.up < p.most
		}
	}
	if f.trouble != "" && strings.Contains(query, f.trouble) {
		return int(time.Now().Unix()), true
	}
	n, known = f.numbers[query]
	return n, known
}
