package doctor

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// pipelineCases are stacks with an override, with what a real Prometheus had scraped of the real
// parts, each of them killed or stopped in docker-compose.scale.yaml's stack half a minute before.
var pipelineCases = []sick{
	{"microservices are well", atScale, ""},
	{"Kafka is stopped", func(f *fake) {
		atScale(f)
		f.trouble["connect_errors"] = "--------111"
		f.spans = nil
	}, linkPipeline},
	{"Kafka was away", func(f *fake) {
		atScale(f)
		f.trouble["connect_errors"] = "--------111"
	}, ""},
	{"S3 is stopped", func(f *fake) {
		atScale(f)
		f.trouble["poll_errors"] = "--------111"
		f.traceStatus = 500
	}, linkPipeline},
	{"one live-store is killed", func(f *fake) { atScale(f); f.up["live-store"][0] = "11111111100" }, linkPipeline},
	{"both live-stores are killed", func(f *fake) {
		atScale(f)
		f.up["live-store"] = []string{"11111111100", "11111111100"}
		f.traceStatus = 500
	}, linkPipeline},
	{"a querier is killed", func(f *fake) { atScale(f); f.up["querier"][0] = "11111111100" }, linkPipeline},
	{"all queriers are killed", func(f *fake) {
		atScale(f)
		f.up["querier"] = []string{"11111111---", "111111110--"}
		f.tempoReady = 503
	}, linkPipeline},
	{"the scheduler is killed", func(f *fake) { atScale(f); f.up["backend-scheduler"] = []string{"11111111100"} }, linkPipeline},
	{"a collector is full", func(f *fake) {
		atScale(f)
		f.up["distributor"] = []string{"1111111----", "1111111----"}
		f.trouble["queue_capacity"] = "---------11"
		f.numbers[lostQuery] = 150
		f.spans = nil
	}, linkPipeline},
	{"a part was never there", func(f *fake) {
		atScale(f)
		delete(f.up, "metrics-generator")
		f.up["backend-worker"] = []string{"00000000000"}
	}, linkPipeline},
	{"microservices are not scraped yet", func(f *fake) { atScale(f); clear(f.up) }, ""},
	{"microservices were scraped before the request", func(f *fake) { atScale(f); f.scraped = 20 * time.Second }, ""},
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
	{"another stack had two collectors", func(f *fake) {
		withCollector(f)
		f.up["collector"] = []string{"11111------", "11111--1111"}
		f.numbers[startQuery] = int(time.Now().Add(-time.Minute).Unix())
	}, ""},
	{"the collector does not find Tempo again", func(f *fake) {
		withCollector(f)
		f.trouble["sum(otelcol_exporter_queue_size and"] = "----1111111"
		f.numbers[lostQuery] = 21
		f.spans = nil
	}, linkPipeline},
	{"the collector counts nothing", func(f *fake) { withCollector(f); f.noCalls = true }, linkMetrics},
	{"the collector is killed", func(f *fake) {
		withCollector(f)
		f.up["collector"] = []string{"111111111--"}
		f.spans = nil
	}, linkPipeline},
}

const scraped = "11111111111" // in the last two and a half minutes

func atScale(f *fake) {
	f.override, f.trouble, f.numbers, f.up = scale, map[string]string{}, map[string]int{}, map[string][]string{}
	for _, s := range stages {
		f.up[s.job] = []string{scraped}
		if len(s.few) > 0 {
			f.up[s.job] = []string{scraped, scraped}
		}
	}
}

func withCollector(f *fake) {
	atScale(f)
	f.override = collectors
	f.up = map[string][]string{"collector": {scraped}}
}

// TestAPartThatIsReplacedIsNotMissed: for a moment both the old and the new one are up.
func TestAPartThatIsReplacedIsNotMissed(t *testing.T) {
	for pattern, wantUp := range map[string][2]int{
		"1111111---- -----111111": {1, 1}, // two for 30 s
		"11111111--- --111111111": {1, 2}, // for longer: one of two has gone
		"11111111111 00000000000": {1, 2}, // a target that never was up
		"111111111-- 111111111--": {0, 2},
	} {
		var series []map[int]bool
		for _, of := range strings.Fields(pattern) {
			at := map[int]bool{}
			for i, value := range of {
				if value != '-' {
					at[ticks-len(of)+1+i] = value == '1'
				}
			}
			series = append(series, at)
		}
		up, want := count(series)
		if got := [2]int{up[ticks], want}; got != wantUp {
			t.Errorf("%s: %v, want %v", pattern, got, wantUp)
		}
	}
}

// lastHour answers with what was scraped last, at the end of the time asked for.
func (f *fake) lastHour(w http.ResponseWriter, r *http.Request, query string) {
	end, err := strconv.ParseInt(r.URL.Query().Get("end"), 10, 64)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var scraped []string
	for job, targets := range f.up {
		if strings.HasPrefix(query, "up") && strings.Contains(query, `"`+job+`"`) {
			scraped = targets
		}
	}
	for of, values := range f.trouble {
		if strings.Contains(query, of) {
			scraped = []string{values}
		}
	}
	result := []any{}
	for _, series := range scraped {
		var values []any
		for i, value := range series {
			if value != '-' {
				values = append(values, []any{end - 15*int64(len(series)-1-i), string(value)})
			}
		}
		result = append(result, map[string]any{"metric": map[string]string{}, "values": values})
	}
	inData(w, map[string]any{"resultType": "matrix", "result": result})
}
