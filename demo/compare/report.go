package compare

import (
	_ "embed"
	"slices"

	"go.yaml.in/yaml/v3"
)

// Report is what a comparison found. Its JSON form is what `demo compare -json` prints.
type Report struct {
	Machine Machine  `json:"machine"` // figures of two machines cannot be compared, ratios with care
	Rounds  int      `json:"rounds"`
	Loads   []Load   `json:"loads"`   // with the mocks at zero, and with the mocks as they are
	Still   []Metric `json:"still"`   // what does not depend on load
	Answers []Answer `json:"answers"` // what one instruments for
	Notes   []string `json:"notes"`   // what was not measured and why, errors, lost spans
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
	Name         string   `json:"name"`
	Connections  int      `json:"connections"`
	DurationMS   float64  `json:"duration_ms"` // of each round
	Metrics      []Metric `json:"metrics"`
	Plain        Runs     `json:"plain"`
	Instrumented Runs     `json:"instrumented"`
}

// Runs are the rounds of one pair under one load.
type Runs struct {
	Rounds    []Round      `json:"rounds"`
	Latencies []Percentile `json:"latencies"` // of all rounds together
}

// Round is what one pair did in one round, both services together.
type Round struct {
	RequestsPerSecond float64 `json:"requests_per_second"`
	P50MS             float64 `json:"p50_ms"`
	P90MS             float64 `json:"p90_ms"`
	P99MS             float64 `json:"p99_ms"`
	MaxMS             float64 `json:"max_ms"`
	// CPUMicros is a request's processor time, user and system, less that of start and stop.
	CPUMicros float64          `json:"cpu_us_per_request"`
	PeakBytes int64            `json:"peak_memory_bytes"` // most that was resident; 0 where that is unknown
	Answered  int64            `json:"answered"`          // with 200, those of the warm-up included
	Errors    map[string]int64 `json:"errors,omitempty"`  // all other outcomes, by what went wrong
	// SpansLost is how many spans of answered requests never arrived. It is left out for the plain
	// pair, which has none, and where requests failed.
	SpansLost *int64 `json:"spans_lost,omitempty"`
}

// Percentile is a latency that this share of the requests stayed within.
type Percentile struct {
	Percent float64 `json:"percent"`
	MS      float64 `json:"ms"`
}

// percents are those that are reported and plotted.
var percents = []float64{1, 5, 10, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 92.5, 95, 96, 97, 98, 99, 99.5, 99.9}

// Metric sets one figure of the plain pair beside that of the instrumented pair: the medians over
// the rounds, and the ratio round by round, which is left out where either figure is 0.
type Metric struct {
	Name         string  `json:"name"`
	Unit         string  `json:"unit"` // 1/s, ms, us, bytes or count
	Plain        float64 `json:"plain"`
	Instrumented float64 `json:"instrumented"`
	Ratio        *Spread `json:"ratio,omitempty"`
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

//go:embed answers.yaml
var answersYAML []byte

// readAnswers returns what each pair can answer.
func readAnswers() (answers []Answer) {
	if err := yaml.Unmarshal(answersYAML, &answers); err != nil {
		panic(err) // of the file that is built in
	}
	return answers
}

// newMetric compares what the rounds gave; both pairs have as many.
func newMetric(name, unit string, plain, instrumented []float64) Metric {
	m := Metric{Name: name, Unit: unit, Plain: median(plain), Instrumented: median(instrumented)}
	var ratios []float64
	for i := range plain {
		if plain[i] > 0 && instrumented[i] > 0 {
			ratios = append(ratios, instrumented[i]/plain[i])
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
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// appendMetric adds a metric, unless it is one that neither pair has.
func appendMetric(metrics []Metric, name, unit string, plain, instrumented []float64) []Metric {
	if m := newMetric(name, unit, plain, instrumented); m.Plain != 0 || m.Instrumented != 0 {
		metrics = append(metrics, m)
	}
	return metrics
}

// compareRounds fills the load's metrics from its rounds, in the order in which they are shown.
func (l *Load) compareRounds() {
	for _, m := range []struct {
		name, unit string
		of         func(Round) float64
	}{
		{"requests per second", "1/s", func(r Round) float64 { return r.RequestsPerSecond }},
		{"latency, p50", "ms", func(r Round) float64 { return r.P50MS }},
		{"latency, p90", "ms", func(r Round) float64 { return r.P90MS }},
		{"latency, p99", "ms", func(r Round) float64 { return r.P99MS }},
		{"CPU per request", "us", func(r Round) float64 { return r.CPUMicros }},
		{"memory, at most", "bytes", func(r Round) float64 { return float64(r.PeakBytes) }},
	} {
		var plain, instrumented []float64
		for i := range l.Plain.Rounds {
			plain = append(plain, m.of(l.Plain.Rounds[i]))
			instrumented = append(instrumented, m.of(l.Instrumented.Rounds[i]))
		}
		l.Metrics = appendMetric(l.Metrics, m.name, m.unit, plain, instrumented)
	}
}
