package compare

import (
	_ "embed"
	"html/template"
	"io"
	"math"
	"slices"
)

//go:embed plot.svg.tmpl
var plotSource string

var plot = template.Must(template.New("plot").Funcs(functions).Parse(plotSource))

// picture is a report with what its template needs to place it, in the picture's own units.
type picture struct {
	*Report
	low, high      float64   // ends of the axis of ratios, as powers of two
	Ratios         []float64 // marked on it
	Rows           []row
	Curves         []*curve
	Percents       []float64 // marked on the curves' axis
	Bottom, Height float64   // of the ratios, and of all
}

// row is the name of a group, or a metric of it.
type row struct {
	Y     float64
	Group string
	Metric
}

// curve is how long the requests of one load took.
type curve struct {
	Load
	Y     float64
	top   float64   // end of the axis of times, in milliseconds
	Times []float64 // marked on it
}

// X is where a ratio stands.
func (p *picture) X(ratio float64) float64 {
	return tenths(210 + 500*(math.Log2(ratio)-p.low)/(p.high-p.low))
}

// X is where a percentile stands. The axis spreads out the slow requests, which users remember:
// each step, up to 99.9 %, has a tenth of the requests of the last.
func (c *curve) X(percent float64) float64 { return tenths(80 - 640*math.Log10(1-percent/100)/3) }

// At is where a latency stands.
func (c *curve) At(ms float64) float64 { return tenths(284 - 260*ms/c.top) }

// tenths rounds a length.
func tenths(v float64) float64 { return math.Round(10*v) / 10 }

// SVG draws the ratios and the latencies, in a file that needs no other. The error is w's.
func (r *Report) SVG(w io.Writer) error {
	// The axis has whole powers of two around all ranges, and around 1.
	p := &picture{Report: r, low: -1, high: 1, Percents: []float64{0, 50, 90, 99, 99.9}, Bottom: 78}
	add := func(r row) {
		r.Y = p.Bottom + 16
		p.Rows = append(p.Rows, r)
		p.Bottom += 24
	}
	for _, g := range append(slices.Clone(r.Loads), Load{Name: "without load", Metrics: r.Still}) {
		add(row{Group: g.Name})
		for _, m := range g.Metrics {
			if m.Ratio != nil {
				p.low = min(p.low, math.Floor(math.Log2(m.Ratio.Min)))
				p.high = max(p.high, math.Ceil(math.Log2(m.Ratio.Max)))
				add(row{Metric: m})
			}
		}
	}
	for power := p.low; power <= p.high; power++ {
		p.Ratios = append(p.Ratios, math.Exp2(power))
	}
	p.Height = p.Bottom + 30
	for _, l := range r.Loads {
		p.Curves = append(p.Curves, newCurve(l, p.Height+20))
		p.Height += 360
	}
	return plot.Execute(w, p)
}

func newCurve(l Load, y float64) *curve {
	most := 0.0
	for _, p := range slices.Concat(l.Plain.Latencies, l.Instrumented.Latencies) {
		most = max(most, p.MS)
	}
	step := math.Pow(10, math.Floor(math.Log10(most))) / 2
	if most/step > 10 {
		step *= 2
	}
	c := &curve{Load: l, Y: y, top: step * math.Ceil(most/step)}
	for ms := 0.0; ms <= c.top; ms += step {
		c.Times = append(c.Times, ms)
	}
	return c
}
