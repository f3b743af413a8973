package compare

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strings"

	"example.com/grafana-tempo-go-demo/demo/term"
)

//go:embed plot.svg.tmpl
var plotSource string

var plot = template.Must(template.New("plot").Funcs(template.FuncMap{"amount": amount, "times": times}).Parse(plotSource))

// picture is what the template draws. Lengths are in the picture's own units.
type picture struct {
	Rounds         string
	Ratios         []tick
	Rows           []row
	Curves         []curve
	Bottom, Height float64 // of the ratios, and of all
}

// tick is a place on an axis.
type tick struct {
	At    float64
	Label string
}

// row is the name of a group, or a metric of it: a point with a range.
type row struct {
	Y     float64
	Group string
	Metric
	Min, Median, Max float64
}

// curve is how long the requests of one load took.
type curve struct {
	Y                   float64
	Load                string
	Times, Percents     []tick
	Plain, Instrumented string // points
}

// SVG draws the ratios and the latencies, in a file that needs no other. The error is w's.
func (r *Report) SVG(w io.Writer) error {
	p := picture{Rounds: term.Count(r.Rounds, "round"), Bottom: 78}
	groups := append(slices.Clone(r.Loads), Load{Name: "without load", Metrics: r.Still})
	// The axis has whole powers of two around all ranges, and around 1.
	low, high := -1.0, 1.0
	for _, g := range groups {
		for _, m := range g.Metrics {
			if m.Ratio != nil {
				low = min(low, math.Floor(math.Log2(m.Ratio.Min)))
				high = max(high, math.Ceil(math.Log2(m.Ratio.Max)))
			}
		}
	}
	at := func(ratio float64) float64 { return tenths(210 + 500*(math.Log2(ratio)-low)/(high-low)) }
	for power := low; power <= high; power++ {
		p.Ratios = append(p.Ratios, tick{at(math.Exp2(power)), fmt.Sprintf("%g×", math.Exp2(power))})
	}
	add := func(r row) {
		r.Y = p.Bottom + 16
		p.Rows = append(p.Rows, r)
		p.Bottom += 24
	}
	for _, g := range groups {
		add(row{Group: g.Name})
		for _, m := range g.Metrics {
			if s := m.Ratio; s != nil {
				add(row{Metric: m, Min: at(s.Min), Median: at(s.Median), Max: at(s.Max)})
			}
		}
	}
	p.Height = p.Bottom + 30
	for _, l := range r.Loads {
		c := l.curve()
		c.Y = p.Height + 20
		p.Curves = append(p.Curves, c)
		p.Height += 360
	}
	return plot.Execute(w, p)
}

// curve plots latencies by percentile. The axis spreads out the slow ones, which users remember:
// each step has a tenth of the requests of the last.
func (l *Load) curve() curve {
	const left, width, bottom, height = 80, 640, 284, 260
	most := 0.0
	for _, p := range slices.Concat(l.Plain.Latencies, l.Instrumented.Latencies) {
		most = max(most, p.MS)
	}
	step := math.Pow(10, math.Floor(math.Log10(most))) / 2
	if most/step > 10 {
		step *= 2
	}
	top := step * math.Ceil(most/step)
	x := func(percent float64) float64 { return tenths(left - width*math.Log10(1-percent/100)/3) } // to 99.9 %
	y := func(ms float64) float64 { return tenths(bottom - height*ms/top) }
	points := func(r Runs) string {
		var b strings.Builder
		for _, p := range r.Latencies {
			fmt.Fprintf(&b, "%g,%g ", x(p.Percent), y(p.MS))
		}
		return b.String()
	}
	c := curve{Load: fmt.Sprintf("%s, %s", l.Name, term.Count(l.Connections, "connection")),
		Plain: points(l.Plain), Instrumented: points(l.Instrumented)}
	for ms := 0.0; ms <= top; ms += step {
		c.Times = append(c.Times, tick{y(ms), amount(ms, "ms")})
	}
	for _, percent := range []float64{0, 50, 90, 99, 99.9} {
		c.Percents = append(c.Percents, tick{x(percent), fmt.Sprintf("%g %%", percent)})
	}
	return c
}

// tenths rounds a length.
func tenths(v float64) float64 { return math.Round(10*v) / 10 }
