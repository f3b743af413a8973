package compare

import (
	_ "embed"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/template"
	"time"

	"example.com/grafana-tempo-go-demo/demo/story"
	"example.com/grafana-tempo-go-demo/demo/term"
)

// Report is what a comparison found. Its JSON form is what `demo compare -json` prints.
type Report struct {
	Machine string   `json:"machine"` // figures of two machines cannot be compared, ratios with care
	Rounds  int      `json:"rounds"`
	Loads   []Load   `json:"loads"` // with the mocks at zero, and with the mocks as they are
	Still   []Metric `json:"still"` // what does not depend on load
	Notes   []string `json:"notes"` // what was not measured and why, errors, lost spans
}

// Load is one kind of load and what came of it.
type Load struct {
	Name        string   `json:"name"`
	Connections int      `json:"connections"`
	Metrics     []Metric `json:"metrics"`
}

// Metric sets one figure of the plain pair beside that of the instrumented pair: the medians over
// the rounds, and the ratio round by round, which is left out where either figure is 0.
type Metric struct {
	Name         string  `json:"name"`
	Unit         string  `json:"unit"` // 1/s, ms, us or bytes
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

// metric is what a round is judged by.
type metric struct {
	name, unit string
	of         func(*measured) float64
}

var (
	underLoad = []metric{
		{"requests per second", "1/s", func(m *measured) float64 { return m.Throughput }},
		{"latency, p50", "ms", func(m *measured) float64 { return milliseconds(m.Latencies.P50) }},
		{"latency, p90", "ms", func(m *measured) float64 { return milliseconds(m.Latencies.P90) }},
		{"latency, p99", "ms", func(m *measured) float64 { return milliseconds(m.Latencies.P99) }},
		// User and system, less that of start and stop.
		{"CPU per request", "us", func(m *measured) float64 { return float64(m.cpu.Microseconds()) / float64(m.Requests) }},
		{"memory, at most", "bytes", func(m *measured) float64 { return float64(m.peak) }},
	}
	still = []metric{
		{"memory after one request", "bytes", func(m *measured) float64 { return float64(m.peak) }},
		{"binaries, both", "bytes", func(m *measured) float64 { return float64(m.binaries) }},
	}
)

// setSideBySide compares the rounds of the two pairs, without what neither has; both have as many.
func setSideBySide(metrics []metric, plain, instrumented []*measured) (compared []Metric) {
	for _, m := range metrics {
		var values [2][]float64
		var ratios []float64
		for i := range plain {
			p, q := m.of(plain[i]), m.of(instrumented[i])
			values[0], values[1] = append(values[0], p), append(values[1], q)
			if p > 0 && q > 0 {
				ratios = append(ratios, q/p)
			}
		}
		c := Metric{Name: m.name, Unit: m.unit, Plain: median(values[0]), Instrumented: median(values[1])}
		if len(ratios) > 0 {
			c.Ratio = &Spread{Median: median(ratios), Min: slices.Min(ratios), Max: slices.Max(ratios)}
		}
		if c.Plain != 0 || c.Instrumented != 0 {
			compared = append(compared, c)
		}
	}
	return compared
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// median is the middle one, or what lies between the middle two.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

//go:embed report.txt.tmpl
var textSource string

var text = template.Must(template.New("report").Funcs(template.FuncMap{
	"amount": amount,
	"count":  term.Count,
	"times":  func(ratio float64) string { return fmt.Sprintf("%.2f×", ratio) },
	"hang":   func(lead, text string, columns int) string { return term.Hang(lead, term.Clean(text), columns) },
}).Parse(textSource))

// Text prints the report as tables with lines of at most so many columns, but not of fewer than 60.
// If ascii, it has 7-bit characters only. The error is w's.
func (r *Report) Text(w io.Writer, columns int, ascii bool) error {
	var b strings.Builder
	if err := text.Execute(&b, struct {
		*Report
		Columns int
	}{r, max(columns, 60)}); err != nil {
		return err
	}
	out := b.String()
	if ascii {
		out = term.ASCII(out, map[rune]rune{'×': 'x', '–': '-', 'µ': 'u'})
	}
	_, err := io.WriteString(w, out)
	return err
}

// amount writes a figure with its unit, in about three digits.
func amount(v float64, unit string) string {
	switch unit {
	case "ms":
		return story.Time(v * float64(time.Millisecond)).String()
	case "us":
		return fmt.Sprintf("%.0f µs", v)
	case "bytes":
		return fmt.Sprintf("%.1f MB", v/1e6)
	}
	return fmt.Sprintf("%.0f", v)
}
