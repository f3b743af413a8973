package compare

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/term"
)

// Text prints the report as tables with lines of at most so many columns, but not of fewer than 60.
// If ascii, it has 7-bit characters only. The error is w's.
func (r *Report) Text(w io.Writer, columns int, ascii bool) error {
	columns = max(columns, 60)
	var b strings.Builder
	m := r.Machine
	fmt.Fprintf(&b, "\nWhat instrumentation costs on this machine (%d processors, %s/%s, %s)\n", m.CPUs, m.OS, m.Arch, m.Go)
	fmt.Fprintf(&b, "Ratios are instrumented to plain: the median of %s, and the range.\n", term.Count(r.Rounds, "round"))
	fmt.Fprintf(&b, "\n%-26s%11s%14s%9s  %s\n", "", "plain", "instrumented", "ratio", "range")
	for _, l := range r.Loads {
		fmt.Fprintf(&b, "%s, %s\n", l.Name, term.Count(l.Connections, "connection"))
		writeMetrics(&b, l.Metrics)
	}
	b.WriteString("without load\n")
	writeMetrics(&b, r.Still)
	b.WriteString("\nWhat it buys\n")
	for _, a := range r.Answers {
		fmt.Fprintf(&b, "\n%s\n", a.Question)
		b.WriteString(term.Hang("  plain         ", a.Plain, columns))
		b.WriteString(term.Hang("  instrumented  ", a.Instrumented, columns))
	}
	if len(r.Notes) > 0 {
		b.WriteString("\nNotes\n")
		for _, note := range r.Notes {
			b.WriteString(term.Hang("  - ", term.Clean(note), columns))
		}
	}
	text := b.String()
	if ascii {
		text = term.ASCII(text, map[rune]rune{'×': 'x', '–': '-', 'µ': 'u'})
	}
	_, err := io.WriteString(w, text)
	return err
}

func writeMetrics(b *strings.Builder, metrics []Metric) {
	for _, m := range metrics {
		fmt.Fprintf(b, "  %-24s%11s%14s", m.Name, amount(m.Plain, m.Unit), amount(m.Instrumented, m.Unit))
		if m.Ratio != nil {
			fmt.Fprintf(b, "%9s", times(m.Ratio.Median))
			if m.Ratio.Min != m.Ratio.Max {
				fmt.Fprintf(b, "  %s–%s", times(m.Ratio.Min), times(m.Ratio.Max))
			}
		}
		b.WriteString("\n")
	}
}

// amount writes a figure with its unit, in about three digits.
func amount(v float64, unit string) string {
	switch {
	case unit == "ms":
		return term.Duration(time.Duration(v * float64(time.Millisecond)))
	case unit == "us" && v >= 1000:
		return fmt.Sprintf("%.2f ms", v/1000)
	case unit == "us":
		return fmt.Sprintf("%.0f µs", v)
	case unit == "bytes" && v >= 1e6:
		return fmt.Sprintf("%.1f MB", v/1e6)
	case unit == "bytes" && v >= 1e3:
		return fmt.Sprintf("%.1f kB", v/1e3)
	case unit == "bytes":
		return fmt.Sprintf("%.0f B", v)
	case v >= 100 || v == math.Trunc(v):
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return fmt.Sprintf("%.1f", v)
}

// times writes a ratio.
func times(ratio float64) string {
	if ratio >= 100 {
		return fmt.Sprintf("%.0f×", ratio)
	}
	return fmt.Sprintf("%.2f×", ratio)
}
