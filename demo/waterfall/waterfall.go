// Package waterfall draws a trace for the terminal: a tree of spans, and beside it the bar of each
// on one common time axis. Time that nobody measured has a row of its own.
package waterfall

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"example.com/grafana-tempo-go-demo/demo/story"
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
	Width int  // the most columns that a line takes, at least 40; 0 means term.DefaultWidth
	ASCII bool // 7-bit characters only, for terminals whose locale is not UTF-8
	Color bool // ANSI colours; the words say the same without them
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

// row is one line of the drawing: a span, or the time that nobody measured.
type row struct {
	span                    *story.Span // nil for the unexplained time
	depth                   int
	name, service, duration string
	colour                  string
	prefix, below           string // tree lines before the name, and of what stands under this row
}

// Render returns the drawing, every line ended by a newline. Characters in names that could move
// the cursor or reorder the text become visible ones.
func Render(t *story.Trace, o Options) string {
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
	d.draw()
	return d.out.String()
}

type drawing struct {
	Options
	glyphs

	trace *story.Trace
	rows  []row

	name, service, duration, bars int // columns
	out                           strings.Builder
}

func newDrawing(t *story.Trace, o Options, g glyphs) *drawing {
	d := &drawing{Options: o, glyphs: g, trace: t}
	unexplained := func(depth int) row {
		return row{depth: depth, name: "unexplained", duration: d.clean(t.Dark.Time.String()), colour: term.Faint}
	}
	for _, s := range t.Spans {
		service := slices.IndexFunc(t.Services, func(known story.Service) bool { return known.Name == s.Service })
		d.rows = append(d.rows, row{span: s, depth: s.Depth, name: d.clean(s.Name), service: d.clean(s.Service),
			duration: d.clean(s.Duration.String()), colour: colours[service%len(colours)]})
		if t.Dark != nil && t.Dark.Span == s.Index { // it has no children
			d.rows = append(d.rows, unexplained(s.Depth+1))
		}
	}
	if t.Dark != nil && t.Dark.Span < 0 {
		d.rows = append(d.rows, unexplained(0))
	}
	d.tree()
	return d
}

// tree draws the lines of the tree: those of the innermost levels, as many as there is room for.
func (d *drawing) tree() {
	last := make([]bool, len(d.rows)) // of its siblings
	follows := map[int]bool{}         // by level
	for i, r := range slices.Backward(d.rows) {
		last[i], follows[r.depth] = !follows[r.depth], true
		delete(follows, r.depth+1)
	}
	innermost := func(lines []string) string { return strings.Join(lines[max(0, len(lines)-d.Width):], "") }
	var lines []string // of each level above
	for i := range d.rows {
		r := &d.rows[i]
		if r.depth > 0 {
			branch, line := d.tee, d.pipe
			if last[i] {
				branch, line = d.corner, d.blank
			}
			lines = lines[:r.depth-1]
			r.prefix, lines = innermost(lines)+branch, append(lines, line)
		}
		if r.below = innermost(lines[:r.depth]); i+1 < len(d.rows) && d.rows[i+1].depth > r.depth {
			r.below += d.pipe
		}
	}
}

// measure divides the width: what service and duration need, then bars, then names. It reports
// whether the names fit.
func (d *drawing) measure() bool {
	for _, r := range d.rows {
		d.name = max(d.name, term.Columns(r.prefix+r.name))
		d.service = max(d.service, term.Columns(r.service))
		d.duration = max(d.duration, term.Columns(r.duration))
	}
	d.service = min(d.service, maxService)
	// Two blanks stand between names, services, durations and bars.
	left := d.Width - d.service - d.duration - 6
	wanted := d.name
	d.name = max(minName, min(d.name, left-minBars))
	d.bars = max(0, left-d.name)
	return wanted <= d.name
}

func (d *drawing) draw() {
	total := d.clean(d.trace.Duration.String())
	spans := term.Count(len(d.trace.Spans), "span")
	if d.trace.Errors > 0 {
		spans = d.paint(term.Red, fmt.Sprintf("%d of %s failed", d.trace.Errors, spans))
	}
	fmt.Fprintf(&d.out, "trace %s  %s  %s\n", d.clean(d.trace.ID), spans, total)
	if d.bars >= len("0 "+total) { // the scale above the bars
		scale := fmt.Sprintf("0%*s", d.bars-1, total)
		d.out.WriteString(strings.Repeat(" ", d.name+d.service+d.duration+6) + d.paint(term.Faint, scale) + "\n")
	}
	for _, r := range d.rows {
		room := d.name - min(minName, term.Columns(r.name)) // for the lines of the tree
		name := term.Pad(term.Fit(d.clip(r.prefix, room)+r.name, d.name, d.cut), d.name)
		service := term.Pad(term.Fit(r.service, d.service, d.cut), d.service)
		line := fmt.Sprintf("%s  %s  %*s", name, d.paint(r.colour, service), d.duration, r.duration)
		if d.bars > 0 {
			line += "  " + d.paint(r.colour, d.bar(r.span))
		}
		d.out.WriteString(strings.TrimRight(line, " ") + "\n")
		below := d.clip(r.below, room)
		switch {
		case r.span == nil:
			continue
		case r.span.Orphan:
			d.under(below, term.Faint, "(its parent is not here)")
		case r.span.Circle:
			d.under(below, term.Faint, "(its parent is below it)")
		}
		if r.span.Status == "error" {
			d.under(below, term.Red, strings.TrimSuffix("ERROR: "+d.clean(r.span.StatusMessage), ": "))
		}
	}
	if slices.ContainsFunc(d.trace.Services, func(s story.Service) bool { return s.Outside }) {
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

// bar is the time of one span on the common axis, or with nil what is unexplained. A span too short
// to be seen gets a thin mark.
func (d *drawing) bar(s *story.Span) string {
	if d.trace.Duration <= 0 {
		return d.tick
	}
	at := func(t story.Time) float64 { return float64(t) / float64(d.trace.Duration) * float64(d.bars) }
	if s == nil {
		line := []rune(strings.Repeat(" ", d.bars))
		for _, piece := range d.trace.Dark.Pieces {
			for i := int(at(piece.From) + 0.5); i < int(at(piece.To)+0.5); i++ {
				line[i] = []rune(d.hatch)[0]
			}
		}
		return string(line)
	}
	from, to := at(s.Start), at(s.Interval.To)
	first, last := int(from+0.5), int(to+0.5)
	if last <= first {
		return strings.Repeat(" ", min(int(from), d.bars-1)) + d.tick
	}
	bar := d.glyphs.bar
	if s.Outside {
		bar = d.outside
	}
	return strings.Repeat(" ", first) + strings.Repeat(bar, last-first)
}

func (d *drawing) paint(colour, text string) string { return term.Paint(d.Color, colour, text) }

func (d *drawing) clean(s string) string {
	if s = term.Clean(s); d.ASCII {
		s = term.ASCII(s, map[rune]rune{'µ': 'u'})
	}
	return s
}
