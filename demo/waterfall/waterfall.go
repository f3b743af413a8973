// Package waterfall draws a trace for the terminal: a tree of spans, and beside it the bar of each
// on one common time axis. Time that nobody measured has a row of its own.
package waterfall

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/demo/term"
)

const (
	minWidth   = 40
	minBars    = 16 // columns of bars below which the names are shortened instead
	minName    = 10 // columns of a name below which the lines of the tree are shortened instead
	maxService = 16
)

// Options say how to draw.
type Options struct {
	// Width is the most columns that a line takes, at least 40; 0 means term.DefaultWidth.
	Width int
	// ASCII draws with 7-bit characters only, for terminals whose locale is not UTF-8.
	ASCII bool
	// Color adds ANSI colours. The words say the same without them.
	Color bool
}

type glyphs struct{ tee, corner, pipe, blank, bar, outside, hatch, tick, cut string }

var (
	unicodeGlyphs = glyphs{"├─ ", "└─ ", "│  ", "   ", "█", "▒", "░", "▏", "…"}
	unicodeNarrow = glyphs{"├", "└", "│", " ", "█", "▒", "░", "▏", "…"}
	asciiGlyphs   = glyphs{"|- ", "`- ", "|  ", "   ", "=", "-", "?", "|", "~"}
	asciiNarrow   = glyphs{"|", "`", "|", " ", "=", "-", "?", "|", "~"}
)

// colours are those of the services, in order of appearance. Red is kept for errors.
var colours = []string{"\x1b[36m", "\x1b[33m", "\x1b[35m", "\x1b[32m", "\x1b[34m"}

// row is one span in drawing order, with its words as they are printed.
type row struct {
	span                    *tempo.Span
	name, service, duration string
	prefix                  string // tree lines before the name
	below                   string // tree lines of what stands under this row
}

// Render returns the drawing, every line ended by a newline. Characters in names that could move
// the cursor or reorder the text become visible ones.
func Render(t *tempo.Trace, o Options) string {
	wide, narrow := unicodeGlyphs, unicodeNarrow
	if o.ASCII {
		wide, narrow = asciiGlyphs, asciiNarrow
	}
	o.Width = max(cmp.Or(o.Width, term.DefaultWidth), minWidth)
	d := newDrawing(t, o, wide)
	if !d.measure() {
		d = newDrawing(t, o, narrow)
		d.measure()
	}
	d.draw(t)
	return d.out.String()
}

type drawing struct {
	Options
	glyphs

	rows       []row
	gaps       []interval      // the unexplained time
	gap        *tempo.Span     // the row for it, or nil
	behind     *tempo.Span     // the span under which it stands, or nil
	known      map[string]bool // ids of the spans that are here, and no id
	start, end time.Time
	errors     int
	colourOf   map[string]string // by service

	name, service, duration, bars int // columns

	out strings.Builder
}

func newDrawing(t *tempo.Trace, o Options, g glyphs) *drawing {
	d := &drawing{Options: o, glyphs: g, known: map[string]bool{"": true}, colourOf: map[string]string{}}
	d.start, d.end = t.Bounds()
	for _, s := range t.Spans {
		d.known[s.SpanID] = true
	}
	var total time.Duration
	if d.gaps, total, d.behind = unexplained(t, d.known); d.behind != nil || total > 0 {
		d.gap = &tempo.Span{Name: "unexplained", Start: d.start, End: d.start.Add(total)}
	}
	for _, root := range t.Roots() {
		d.add(row{span: root})
	}
	if d.gap != nil && d.behind == nil {
		d.add(row{span: d.gap})
	}
	return d
}

// add adds a row, and one for each span below it.
func (d *drawing) add(r row) {
	s, indent := r.span, r.below
	children := s.Children
	if s == d.behind {
		children = []*tempo.Span{d.gap} // it has no others
	}
	if len(children) > 0 {
		r.below += d.pipe
	}
	r.name, r.service, r.duration = d.clean(s.Name), d.clean(s.Service), term.Duration(s.End.Sub(s.Start))
	d.rows = append(d.rows, r)
	if s.Status == "error" {
		d.errors++
	}
	if _, ok := d.colourOf[s.Service]; !ok && s != d.gap {
		d.colourOf[s.Service] = colours[len(d.colourOf)%len(colours)]
	}
	for i, c := range children {
		child := row{span: c, prefix: indent + d.tee, below: indent + d.pipe}
		if i == len(children)-1 {
			child.prefix, child.below = indent+d.corner, indent+d.blank
		}
		d.add(child)
	}
}

// measure divides the width: what service and duration need, then bars, then names. It reports
// whether the names fit.
func (d *drawing) measure() bool {
	for _, r := range d.rows {
		d.name = max(d.name, term.Columns(r.prefix+r.name))
		d.service = max(d.service, term.Columns(r.service))
		d.duration = max(d.duration, len(r.duration))
	}
	d.service = min(d.service, maxService)
	// Two blanks stand between names, services, durations and bars.
	left := d.Width - d.service - d.duration - 6
	wanted := d.name
	d.name = max(minName, min(d.name, left-minBars))
	d.bars = max(0, left-d.name)
	return wanted <= d.name
}

func (d *drawing) draw(t *tempo.Trace) {
	total := term.Duration(d.end.Sub(d.start))
	fmt.Fprintf(&d.out, "trace %s  %s  %s", d.clean(t.ID), term.Count(len(t.Spans), "span"), total)
	if d.errors > 0 {
		d.out.WriteString("  " + d.paint(term.Red, term.Count(d.errors, "error")))
	}
	d.out.WriteString("\n")
	if d.bars >= len("0 "+total) { // the scale above the bars
		scale := fmt.Sprintf("0%*s", d.bars-1, total)
		d.out.WriteString(strings.Repeat(" ", d.name+d.service+d.duration+6) + d.paint(term.Faint, scale) + "\n")
	}
	outside := false
	for _, r := range d.rows {
		outside = outside || r.span.Outside()
		colour := cmp.Or(d.colourOf[r.span.Service], term.Faint)
		room := d.name - min(minName, term.Columns(r.name)) // for the lines of the tree
		name := term.Pad(term.Fit(d.clip(r.prefix, room)+r.name, d.name, d.cut), d.name)
		service := term.Pad(term.Fit(r.service, d.service, d.cut), d.service)
		line := fmt.Sprintf("%s  %s  %*s", name, d.paint(colour, service), d.duration, r.duration)
		if d.bars > 0 {
			line += "  " + d.paint(colour, d.bar(r.span))
		}
		d.out.WriteString(strings.TrimRight(line, " ") + "\n")
		below := d.clip(r.below, room)
		if !d.known[r.span.ParentID] {
			d.under(below, term.Faint, "(its parent is not here)")
		}
		if r.span.Status == "error" {
			d.under(below, term.Red, strings.TrimSuffix("ERROR: "+d.clean(r.span.StatusMessage), ": "))
		}
	}
	if outside {
		d.under(d.glyphs.outside+" ", term.Faint, "seen from outside, by the kernel: what happened inside is unexplained")
	}
}

// clip shortens the lines of a deep tree from the left: they would push the names out.
func (d *drawing) clip(prefix string, limit int) string {
	lines := []rune(prefix)
	if len(lines) <= limit {
		return prefix
	}
	return d.cut + string(lines[len(lines)-max(0, limit-1):])
}

// under writes a text about the row above it, wrapped.
func (d *drawing) under(below, colour, text string) {
	for _, line := range term.Wrap(text, d.Width-term.Columns(below)) {
		d.out.WriteString(below + d.paint(colour, line) + "\n")
	}
}

// bar is the time of one span on the common axis. A span too short to be seen gets a thin mark.
func (d *drawing) bar(s *tempo.Span) string {
	total := d.end.Sub(d.start)
	if total <= 0 {
		return d.tick
	}
	at := func(t time.Time) float64 {
		return min(1, max(0, float64(t.Sub(d.start))/float64(total))) * float64(d.bars)
	}
	if s == d.gap {
		line := []rune(strings.Repeat(" ", d.bars))
		for _, piece := range d.gaps {
			for i := int(at(piece.from) + 0.5); i < int(at(piece.to)+0.5); i++ {
				line[i] = []rune(d.hatch)[0]
			}
		}
		return string(line)
	}
	from, to := at(s.Start), at(s.End)
	first, last := int(from+0.5), int(to+0.5)
	if last <= first {
		return strings.Repeat(" ", min(int(from), d.bars-1)) + d.tick
	}
	bar := d.glyphs.bar
	if s.Outside() {
		bar = d.outside
	}
	return strings.Repeat(" ", first) + strings.Repeat(bar, last-first)
}

func (d *drawing) paint(colour, text string) string { return term.Paint(d.Color, colour, text) }

func (d *drawing) clean(s string) string {
	if s = term.Clean(s); d.ASCII {
		s = term.ASCII(s, nil)
	}
	return s
}
