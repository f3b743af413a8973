package compare

import (
	_ "embed"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/template"
	"time"

	"example.com/grafana-tempo-go-demo/demo/term"
)

//go:embed report.txt.tmpl
var textSource string

var text = template.Must(template.New("report").Funcs(functions).Parse(textSource))

// functions are those of the templates of the text and of the picture.
var functions = template.FuncMap{
	"amount": amount,
	"count":  term.Count,
	"times":  times,
	"hang":   func(lead, text string, columns int) string { return term.Hang(lead, term.Clean(text), columns) },
}

// Text prints the report as tables with lines of at most so many columns, but not of fewer than 60.
// If ascii, it has 7-bit characters only. The error is w's.
func (r *Report) Text(w io.Writer, columns int, ascii bool) error {
	var b strings.Builder
	err := text.Execute(&b, struct {
		*Report
		Columns int
	}{r, max(columns, 60)})
	if err != nil {
		return err
	}
	out := b.String()
	if ascii {
		out = term.ASCII(out, map[rune]rune{'×': 'x', '–': '-', 'µ': 'u'})
	}
	_, err = io.WriteString(w, out)
	return err
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
