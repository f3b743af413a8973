package compare

import (
	"math"
	"slices"
)

// Report is what a comparison found. Its JSON form is what `demo compare -json` prints.
type Report struct {
	// Machine tells where it was measured: figures of two machines cannot be compared, ratios with care.
	Machine Machine `json:"machine"`
	Rounds  int     `json:"rounds"`
	// Loads are the two that were applied: with the mocks at zero, and with the mocks as they are.
	Loads []Load `json:"loads"`
	// Still is what does not depend on load.
	Still []Metric `json:"still"`
	// Answers are the questions for which one instruments, beside what each pair can say.
	Answers []Answer `json:"answers"`
	// Notes say what the figures do not: what was not measured and why, errors, lost spans.
	Notes []string `json:"notes"`
}

// Machine is what the comparison ran on.
type Machine struct {
	OS   string `json:"os"`
	Arch string `json:"arch"`
	CPUs int    `json:"cpus"`
	Go   string `json:"go"` // version
}

// Load is one kind of load and what came of it.
type Load struct {
	Name        string   `json:"name"`
	Connections int      `json:"connections"`
	DurationMS  float64  `json:"duration_ms"` // of each round
	Metrics     []Metric `json:"metrics"`

	Plain        Runs `json:"plain"`
	Instrumented Runs `json:"instrumented"`
}

// Runs are the rounds of one pair under one load.
type Runs struct {
	Rounds []Round `json:"rounds"`
	// Latencies are those of all rounds together, by percentile.
	Latencies []Percentile `json:"latencies"`
}

// Round is what one pair did in one round, both services together. They are fresh processes in each.
type Round struct {
	RequestsPerSecond float64 `json:"requests_per_second"`
	P50MS             float64 `json:"p50_ms"`
	P90MS             float64 `json:"p90_ms"`
	P99MS             float64 `json:"p99_ms"`
	MaxMS             float64 `json:"max_ms"`
	// CPUMicros is the processor time, user and system, that a request took; what starting and stopping the processes
	// takes is not in it.
	CPUMicros float64 `json:"cpu_us_per_request"`
	// PeakBytes is the most memory that was resident; 0 where the system does not tell.
	PeakBytes int64 `json:"peak_memory_bytes"`
	// Answered is how many requests were answered with 200, those of the warm-up included.
	Answered int64 `json:"answered"`
	// Errors are all other outcomes, by what went wrong.
	Errors map[string]int64 `json:"errors,omitempty"`
	// SpansLost is how many spans of answered requests never arrived; left out for the plain pair, which has none.
	SpansLost *int64 `json:"spans_lost,omitempty"`
}

// Percentile is a latency that this share of the requests stayed within.
type Percentile struct {
	Percent float64 `json:"percent"`
	MS      float64 `json:"ms"`
}

// Metric sets one figure of the plain pair beside that of the instrumented one.
type Metric struct {
	Name string `json:"name"`
	// Unit is 1/s, ms, us, bytes or count.
	Unit string `json:"unit"`
	// Plain and Instrumented are medians over the rounds.
	Plain        float64 `json:"plain"`
	Instrumented float64 `json:"instrumented"`
	// Ratio is how many times the plain figure the instrumented one is, round by round; left out where that makes no
	// sense.
	Ratio *Spread `json:"ratio,omitempty"`
}

// Spread is the median of what the rounds gave, and the extremes.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// Answer is a question and what can be said without and with instrumentation.
type Answer struct {
	Question     string `json:"question"`
	Plain        string `json:"plain"`
	Instrumented string `json:"instrumented"`
}

// answers are no measurements: they are what the sources of the two pairs make possible.
var answers = []Answer{
	{"Which hop was slow?",
		"No. A log line says when a request came, not how long it took or for whom.",
		"Yes. One trace has a span for each hop, on one time axis."},
	{"Was it Redis?",
		"No. Nothing is written down about Redis unless it fails.",
		"Yes. redis_call is a span of its own, apart from the call after it."},
	{"Which requests failed, and where?",
		"In part. Each service logs its own failures, and nothing ties them to the caller's.",
		"Yes. The span where it began has the error, and the spans above it say so too."},
	{"Which log lines belong to this request?",
		"None can be told while another request is under way.",
		"Those with its trace_id, in all services."},
	{"What do the slowest 1 % look like?",
		"Unknown: durations are not recorded.",
		"A histogram has them, and its exemplars name a trace of each kind."},
}

// of is how many times a is in b; false where that makes no sense.
func of(a, b float64) (float64, bool) {
	if a <= 0 || b <= 0 || math.IsInf(a, 0) || math.IsInf(b, 0) {
		return 0, false
	}
	return b / a, true
}

// newMetric compares what the rounds gave, of which each pair has as many.
func newMetric(name, unit string, plain, instrumented []float64) Metric {
	m := Metric{Name: name, Unit: unit, Plain: median(plain), Instrumented: median(instrumented)}
	var ratios []float64
	for i := range plain {
		if r, ok := of(plain[i], instrumented[i]); ok {
			ratios = append(ratios, r)
		}
	}
	if len(ratios) > 0 {
		m.Ratio = &Spread{Median: median(ratios), Min: slices.Min(ratios), Max: slices.Max(ratios)}
	}
	return m
}

// median is the middle one, or what lies between the middle two; 0 of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// loadMetrics are the figures of a round that are compared, in the order in which they are shown.
var loadMetrics = []struct {
	name, unit string
	value      func(Round) float64
}{
	{"requests per second", "1/s", func(r Round) float64 { return r.RequestsPerSecond }},
	{"latency, p50", "ms", func(r Round) float64 { return r.P50MS }},
	{"latency, p90", "ms", func(r Round) float64 { return r.P90MS }},
	{"latency, p99", "ms", func(r Round) float64 { return r.P99MS }},
	{"CPU per request", "us", func(r Round) float64 { return r.CPUMicros }},
	{"memory, at most", "bytes", func(r Round) float64 { return float64(r.PeakBytes) }},
}

// compareRounds fills the load's metrics from its rounds. A figure that neither pair has is left out.
func (l *Load) compareRounds() {
	l.Metrics = nil
	for _, m := range loadMetrics {
		var plain, instrumented []float64
		for i := range l.Plain.Rounds {
			plain = append(plain, m.value(l.Plain.Rounds[i]))
			instrumented = append(instrumented, m.value(l.Instrumented.Rounds[i]))
		}
		if metric := newMetric(m.name, m.unit, plain, instrumented); metric.Plain != 0 || metric.Instrumented != 0 {
			l.Metrics = append(l.Metrics, metric)
		}
	}
}
