package compare

import (
	"bytes"
	"fmt"
	"html"
	"io"
	"math"
	"path/filepath"
	"strings"
)

// PlotFormat returns how a plot is written to a file of that name: "svg" or "html", by its ending. Any other is an error.
func PlotFormat(file string) (string, error) {
	switch ext := strings.ToLower(filepath.Ext(file)); ext {
	case ".svg", ".html":
		return ext[1:], nil
	case ".htm":
		return "html", nil
	}
	return "", fmt.Errorf("plot %q: the name has to end in .svg or .html", file)
}

// Plot writes the report as a picture that needs nothing else: "svg" has the ratios and the latencies, and "html" has the
// figures and the answers as well. The error is w's.
func (r *Report) Plot(w io.Writer, format string) error {
	var b bytes.Buffer
	if format == "html" {
		r.writeHTML(&b)
	} else {
		r.writeSVG(&b)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// style is of both formats. Plain is told from instrumented by dashes too, and not by the colour alone.
const style = `
svg { font: 13px system-ui, sans-serif; --ink: #1f2328; --faint: #d0d7de; --quiet: #59636e; --paper: #fff; --plain: #57606a; --instrumented: #b3470b }
@media (prefers-color-scheme: dark) { svg { --ink: #e6edf3; --faint: #3d444d; --quiet: #9198a1; --paper: #0d1117; --plain: #b1bac4; --instrumented: #ffa657 } }
svg text { fill: var(--ink) } svg .quiet { fill: var(--quiet) } svg .title { font-size: 16px; font-weight: 600 } svg .group { font-weight: 600 }
svg .paper { fill: var(--paper) } svg .grid { stroke: var(--faint) } svg .one { stroke: var(--quiet) }
svg .range { stroke: var(--instrumented); stroke-width: 3; stroke-linecap: round } svg .point { fill: var(--instrumented) }
svg .plain, svg .instrumented { fill: none; stroke-width: 2.5; stroke: var(--plain); stroke-dasharray: 6 4 } svg .instrumented { stroke: var(--instrumented); stroke-dasharray: none }
`

// Lengths of the picture, in its own units.
const (
	pictureWidth = 860
	rowHeight    = 24
	labelWidth   = 210
	valueWidth   = 150
	curveHeight  = 260
)

// svg collects a picture.
type svg struct{ bytes.Buffer }

func (s *svg) line(class string, x1, y1, x2, y2 float64) {
	fmt.Fprintf(s, `<line class="%s" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`+"\n", class, x1, y1, x2, y2)
}

func (s *svg) text(class, anchor string, x, y float64, text string) {
	fmt.Fprintf(s, `<text class="%s" text-anchor="%s" x="%.1f" y="%.1f">%s</text>`+"\n", class, anchor, x, y, html.EscapeString(text))
}

func (r *Report) writeSVG(out *bytes.Buffer) {
	var s svg
	height := r.drawRatios(&s, 30)
	height = r.drawLatencies(&s, height+50)
	fmt.Fprintf(out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %.0f" role="img" aria-label="What instrumentation costs">`+"\n<style>%s</style>\n",
		pictureWidth, height, style)
	out.WriteString(`<rect class="paper" width="100%" height="100%"/>` + "\n")
	out.Write(s.Bytes())
	out.WriteString("</svg>\n")
}

// drawRatios draws each ratio as a point with its range, on a logarithmic axis, and returns where it ends.
func (r *Report) drawRatios(s *svg, y float64) float64 {
	groups := r.compared()
	low, high := scale(groups)
	left, right := float64(labelWidth), float64(pictureWidth-valueWidth)
	at := func(ratio float64) float64 {
		return left + (right-left)*(math.Log2(ratio)-float64(low))/float64(high-low)
	}
	s.text("title", "start", 16, y, "Instrumented compared to plain")
	s.text("quiet", "start", 16, y+20, fmt.Sprintf("Point: median of %s. Line: from the least to the greatest. The scale doubles with each step.", plural(r.Rounds, "round")))
	y += 48
	top := y
	rows := 0
	for _, g := range groups {
		rows += 1 + len(g.metrics)
	}
	bottom := top + float64(rows*rowHeight)
	for power := low; power <= high; power++ {
		ratio := math.Pow(2, float64(power))
		class := "grid"
		if power == 0 {
			class = "one"
		}
		s.line(class, at(ratio), top, at(ratio), bottom)
		s.text("quiet", "middle", at(ratio), top-6, fmt.Sprintf("%g×", ratio))
	}
	for _, g := range groups {
		s.text("group", "start", 16, y+rowHeight*0.7, g.name)
		y += rowHeight
		for _, m := range g.metrics {
			middle := y + rowHeight/2.0
			s.text("", "start", 30, middle+4, m.Name)
			s.line("range", at(m.Ratio.Min), middle, at(m.Ratio.Max), middle)
			fmt.Fprintf(s, `<circle class="point" cx="%.1f" cy="%.1f" r="5"><title>%s</title></circle>`+"\n", at(m.Ratio.Median), middle,
				html.EscapeString(fmt.Sprintf("%s: %s plain, %s instrumented", m.Name, amount(m.Plain, m.Unit), amount(m.Instrumented, m.Unit))))
			s.text("", "start", right+14, middle+4, fmt.Sprintf("%s (%s–%s)", times(m.Ratio.Median), times(m.Ratio.Min), times(m.Ratio.Max)))
			y += rowHeight
		}
	}
	return bottom
}

// drawLatencies draws, for each load, how long requests took by percentile, and returns where it ends. Its axis spreads
// the end out, as the slow ones are what users remember: each step has a tenth of the requests of the one before.
func (r *Report) drawLatencies(s *svg, y float64) float64 {
	left, right := 80.0, float64(pictureWidth-140)
	deepest := 3.0 // 99.9 %
	at := func(percent float64) float64 {
		return left + (right-left)*min(deepest, -math.Log10(1-percent/100))/deepest
	}
	for _, l := range r.Loads {
		most := 0.0
		for _, runs := range []Runs{l.Plain, l.Instrumented} {
			for _, p := range runs.Latencies {
				most = max(most, p.MS)
			}
		}
		if most == 0 {
			continue
		}
		step := niceStep(most / 5)
		most = math.Ceil(most/step) * step
		s.text("title", "start", 16, y, fmt.Sprintf("How long requests took: %s, %s", l.Name, plural(l.Connections, "connection")))
		y += 24
		top, bottom := y, y+curveHeight
		height := func(ms float64) float64 { return bottom - curveHeight*ms/most }
		for ms := 0.0; ms <= most*1.001; ms += step {
			s.line("grid", left, height(ms), right, height(ms))
			s.text("quiet", "end", left-8, height(ms)+4, amount(ms, "ms"))
		}
		for _, percent := range []float64{0, 50, 90, 99, 99.9} {
			s.line("grid", at(percent), top, at(percent), bottom)
			s.text("quiet", "middle", at(percent), bottom+18, fmt.Sprintf("%g %%", percent))
		}
		for _, runs := range []struct {
			class string
			Runs
		}{{"plain", l.Plain}, {"instrumented", l.Instrumented}} {
			var points strings.Builder
			for _, p := range runs.Latencies {
				fmt.Fprintf(&points, "%.1f,%.1f ", at(p.Percent), height(p.MS))
			}
			fmt.Fprintf(s, `<polyline class="%s" points="%s"/>`+"\n", runs.class, strings.TrimSpace(points.String()))
		}
		for i, class := range []string{"plain", "instrumented"} {
			s.line(class, right+10, top+10+float64(i*22), right+38, top+10+float64(i*22))
			s.text("", "start", right+44, top+14+float64(i*22), class)
		}
		s.text("quiet", "middle", (left+right)/2, bottom+36, "share of requests that were answered within the time")
		y = bottom + 76
	}
	return y - 20
}

// niceStep is the least of 1, 2 and 5 times a power of ten that is no less than v.
func niceStep(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, factor := range []float64{1, 2, 5} {
		if factor*power >= v {
			return factor * power
		}
	}
	return 10 * power
}

func (r *Report) writeHTML(out *bytes.Buffer) {
	text := html.EscapeString
	out.WriteString(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>What instrumentation costs</title>
<style>
:root { color-scheme: light dark; font-family: system-ui, sans-serif } body { margin: 2rem auto; max-width: 54rem; padding: 0 1rem }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 } th, td { text-align: start; padding: .25rem .75rem; border-bottom: 1px solid #8884; vertical-align: top }
td.n, th.n { text-align: end; font-variant-numeric: tabular-nums } tbody th { padding-top: 1rem }
</style>
`)
	fmt.Fprintf(out, "<h1>What instrumentation costs</h1>\n<p>Measured on %d processors, %s/%s, %s. Ratios are instrumented to plain: the median of %s, and the range.</p>\n",
		r.Machine.CPUs, text(r.Machine.OS), text(r.Machine.Arch), text(r.Machine.Go), plural(r.Rounds, "round"))
	r.writeSVG(out)
	out.WriteString(`<table><thead><tr><th scope="col">figure<th scope="col" class="n">plain<th scope="col" class="n">instrumented<th scope="col" class="n">ratio<th scope="col" class="n">range</thead><tbody>` + "\n")
	rows := func(heading string, metrics []Metric) {
		fmt.Fprintf(out, `<tr><th scope="rowgroup" colspan="5">%s`+"\n", text(heading))
		for _, m := range metrics {
			ratio, spread := "", ""
			if m.Ratio != nil {
				ratio, spread = times(m.Ratio.Median), times(m.Ratio.Min)+"–"+times(m.Ratio.Max)
			}
			fmt.Fprintf(out, `<tr><td>%s<td class="n">%s<td class="n">%s<td class="n">%s<td class="n">%s`+"\n",
				text(m.Name), text(amount(m.Plain, m.Unit)), text(amount(m.Instrumented, m.Unit)), ratio, spread)
		}
	}
	for _, l := range r.Loads {
		rows(fmt.Sprintf("%s, %s", l.Name, plural(l.Connections, "connection")), l.Metrics)
	}
	rows("without load", r.Still)
	out.WriteString("</table>\n<h2>What it buys</h2>\n" + `<table><thead><tr><th scope="col">question<th scope="col">plain<th scope="col">instrumented</thead><tbody>` + "\n")
	for _, a := range r.Answers {
		fmt.Fprintf(out, "<tr><td>%s<td>%s<td>%s\n", text(a.Question), text(a.Plain), text(a.Instrumented))
	}
	out.WriteString("</table>\n")
	if len(r.Notes) > 0 {
		out.WriteString("<h2>Notes</h2>\n<ul>\n")
		for _, note := range r.Notes {
			fmt.Fprintf(out, "<li>%s\n", text(note))
		}
		out.WriteString("</ul>\n")
	}
	out.WriteString("</html>\n")
}
