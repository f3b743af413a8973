package compare

import (
	_ "embed"
	"fmt"
	"io"
	"slices"
	"text/template"

	"example.com/grafana-tempo-go-demo/demo/story"
	"example.com/grafana-tempo-go-demo/demo/term"
)

// Report is what a comparison found.
type Report struct {
	Machine string // figures of two machines cannot be compared, ratios with care
	Rounds  int
	Figures string   // a line for each, below a title for each kind of load
	Notes   []string // errors and lost spans
}

// metric is what a round is judged by.
type metric struct {
	name   string
	of     func(*measured) float64
	format string // of such a figure; empty for one in nanoseconds
}

var (
	underLoad = []metric{
		{"requests per second", func(m *measured) float64 { return m.Throughput }, "%.0f"},
		{"latency, p50", func(m *measured) float64 { return float64(m.Latencies.P50) }, ""},
		{"latency, p90", func(m *measured) float64 { return float64(m.Latencies.P90) }, ""},
		{"latency, p99", func(m *measured) float64 { return float64(m.Latencies.P99) }, ""},
		// User and system, less that of start and stop.
		{"CPU per request", func(m *measured) float64 { return float64(m.cpu.Microseconds()) / float64(m.Requests) }, "%.0f µs"},
		{"memory, at most", func(m *measured) float64 { return float64(m.peak) / 1e6 }, "%.1f MB"},
	}
	still = []metric{
		{"memory after one request", func(m *measured) float64 { return float64(m.peak) / 1e6 }, "%.1f MB"},
		{"binaries, both", func(m *measured) float64 { return float64(m.binaries) / 1e6 }, "%.1f MB"},
	}
)

// add sets the rounds of the two pairs side by side, without what neither has; both have as many.
func (r *Report) add(title string, metrics []metric, rounds [2][]*measured) {
	r.Figures += title + "\n"
	for _, m := range metrics {
		var plain, instrumented, ratios []float64
		for i := range rounds[0] {
			p, q := m.of(rounds[0][i]), m.of(rounds[1][i])
			plain, instrumented = append(plain, p), append(instrumented, q)
			if p > 0 && q > 0 {
				ratios = append(ratios, q/p)
			}
		}
		if len(ratios) == 0 {
			continue
		}
		r.Figures += fmt.Sprintf("  %-24s%11s%14s%8.2f×", m.name, m.figure(median(plain)), m.figure(median(instrumented)), median(ratios))
		if len(ratios) > 1 {
			r.Figures += fmt.Sprintf("  %.2f×–%.2f×", slices.Min(ratios), slices.Max(ratios))
		}
		r.Figures += "\n"
	}
}

func (m metric) figure(v float64) string {
	if m.format == "" {
		return story.Time(v).String()
	}
	return fmt.Sprintf(m.format, v)
}

// median is the middle one, or what lies between the middle two.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

//go:embed report.txt.tmpl
var textSource string

var text = template.Must(template.New("report").Funcs(template.FuncMap{
	"count": term.Count,
	"hang":  func(lead, text string, columns int) string { return term.Hang(lead, term.Clean(text), columns) },
}).Parse(textSource))

// Text prints the report as tables with lines of at most so many columns, but not of fewer than 60.
// The error is w's.
func (r *Report) Text(w io.Writer, columns int) error {
	return text.Execute(w, struct {
		*Report
		Columns int
	}{r, max(columns, 60)})
}
