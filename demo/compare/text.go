package compare

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"example.com/grafana-tempo-go-demo/demo/waterfall"
)

// TextOptions say how to print a report.
type TextOptions struct {
	// Width is the most columns that a line takes; 0 means 80, and less than 60 is taken as 60.
	Width int
	// ASCII prints 7-bit characters only.
	ASCII bool
}

// Text prints the report as tables, with a small plot of the ratios. The error is w's.
func (r *Report) Text(w io.Writer, o TextOptions) error {
	if o.Width == 0 {
		o.Width = waterfall.DefaultWidth
	}
	o.Width = max(o.Width, 60)
	var b strings.Builder
	fmt.Fprintf(&b, "\nWhat instrumentation costs on this machine (%d processors, %s/%s, %s)\n", r.Machine.CPUs, r.Machine.OS, r.Machine.Arch, r.Machine.Go)
	fmt.Fprintf(&b, "Ratios are instrumented to plain: the median of %s, and the range.\n", plural(r.Rounds, "round"))
	fmt.Fprintf(&b, "\n%-26s%11s%14s%9s  %s\n", "", "plain", "instrumented", "ratio", "range")
	for _, l := range r.Loads {
		fmt.Fprintf(&b, "%s, %s\n", l.Name, plural(l.Connections, "connection"))
		for _, m := range l.Metrics {
			writeMetric(&b, m)
		}
	}
	b.WriteString("without load\n")
	for _, m := range r.Still {
		writeMetric(&b, m)
	}
	b.WriteString("\nThe ratios as a picture, each step twice the one before\n\n")
	r.writePlot(&b, o)
	b.WriteString("\nWhat it buys\n")
	for _, a := range r.Answers {
		fmt.Fprintf(&b, "\n%s\n", a.Question)
		writeWrapped(&b, "  plain         ", a.Plain, o.Width)
		writeWrapped(&b, "  instrumented  ", a.Instrumented, o.Width)
	}
	if len(r.Notes) > 0 {
		b.WriteString("\nNotes\n")
		for _, note := range r.Notes {
			writeWrapped(&b, "  - ", waterfall.Clean(note), o.Width)
		}
	}
	text := b.String()
	if o.ASCII {
		text = strings.Map(func(r rune) rune {
			if ascii, ok := asASCII[r]; ok {
				return ascii
			}
			if r >= utf8.RuneSelf {
				return '?'
			}
			return r
		}, text)
	}
	_, err := io.WriteString(w, text)
	return err
}

// asASCII has what stands for the characters beyond ASCII that are used here.
var asASCII = map[rune]rune{'×': 'x', '–': '-', '─': '-', '●': 'o', '│': '|', '·': '.', 'µ': 'u'}

func writeMetric(b *strings.Builder, m Metric) {
	fmt.Fprintf(b, "  %-24s%11s%14s", m.Name, amount(m.Plain, m.Unit), amount(m.Instrumented, m.Unit))
	if m.Ratio != nil {
		fmt.Fprintf(b, "%9s", times(m.Ratio.Median))
		if m.Ratio.Min != m.Ratio.Max {
			fmt.Fprintf(b, "  %s–%s", times(m.Ratio.Min), times(m.Ratio.Max))
		}
	}
	b.WriteString("\n")
}

// amount writes a figure with its unit, in three digits or so.
func amount(v float64, unit string) string {
	switch unit {
	case "ms":
		return waterfall.Duration(time.Duration(v * float64(time.Millisecond)))
	case "us":
		if v >= 1000 {
			return fmt.Sprintf("%.2f ms", v/1000)
		}
		return fmt.Sprintf("%.0f µs", v)
	case "bytes":
		switch {
		case v >= 1e6:
			return fmt.Sprintf("%.1f MB", v/1e6)
		case v >= 1e3:
			return fmt.Sprintf("%.1f kB", v/1e3)
		}
		return fmt.Sprintf("%.0f B", v)
	}
	if v >= 100 || v == math.Trunc(v) {
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

// compared are the metrics that have a ratio, by group, in the order in which they are plotted.
func (r *Report) compared() (groups []group) {
	for _, l := range r.Loads {
		groups = append(groups, group{l.Name, withRatio(l.Metrics)})
	}
	return append(groups, group{"without load", withRatio(r.Still)})
}

type group struct {
	name    string
	metrics []Metric
}

func withRatio(metrics []Metric) (found []Metric) {
	for _, m := range metrics {
		if m.Ratio != nil {
			m.Name = strings.TrimSpace(m.Name)
			found = append(found, m)
		}
	}
	return found
}

// scale is the logarithmic axis of ratios, in whole powers of two around all there are, and 1.
func scale(groups []group) (low, high int) {
	low, high = -1, 1
	for _, g := range groups {
		for _, m := range g.metrics {
			low = min(low, int(math.Floor(math.Log2(m.Ratio.Min))))
			high = max(high, int(math.Ceil(math.Log2(m.Ratio.Max))))
		}
	}
	return low, high
}

// writePlot draws each ratio as a point, with its range as a line, on a logarithmic axis.
func (r *Report) writePlot(b *strings.Builder, o TextOptions) {
	const label, value = 26, 9
	groups := r.compared()
	low, high := scale(groups)
	columns := o.Width - label - value - 1
	at := func(ratio float64) int {
		share := (math.Log2(ratio) - float64(low)) / float64(high-low)
		return max(0, min(columns-1, int(share*float64(columns-1)+0.5)))
	}
	axis := []byte(strings.Repeat(" ", columns))
	next := 0
	for power := low; power <= high; power++ {
		mark := strconv.FormatFloat(math.Pow(2, float64(power)), 'g', 3, 64)
		column := min(at(math.Pow(2, float64(power))), columns-len(mark))
		if column >= next {
			copy(axis[column:], mark)
			next = column + len(mark) + 1
		}
	}
	fmt.Fprintf(b, "%*s%s\n", label, "", strings.TrimRight(string(axis), " "))
	for _, g := range groups {
		b.WriteString(g.name + "\n")
		for _, m := range g.metrics {
			line := []rune(strings.Repeat(" ", columns))
			for power := low; power <= high; power++ {
				line[at(math.Pow(2, float64(power)))] = '·'
			}
			line[at(1)] = '│'
			for column := at(m.Ratio.Min); column <= at(m.Ratio.Max); column++ {
				line[column] = '─'
			}
			line[at(m.Ratio.Median)] = '●'
			fmt.Fprintf(b, "  %-*s%s%*s\n", label-2, m.Name, string(line), value, times(m.Ratio.Median))
		}
	}
}

// writeWrapped writes a text after a heading, and what does not fit on the line below it.
func writeWrapped(b *strings.Builder, heading, text string, width int) {
	line := heading
	empty := true
	for word := range strings.FieldsSeq(text) {
		if !empty && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			b.WriteString(line + "\n")
			line, empty = strings.Repeat(" ", len(heading)), true
		}
		if !empty {
			line += " "
		}
		line += word
		empty = false
	}
	b.WriteString(line + "\n")
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
