// Package waterfall draws a trace for the terminal: a tree of spans, and beside it the bar of each
// on one common time axis.
package waterfall

import (
	"fmt"
	"io"
	"slices"
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
	maxMessage = 5 // lines of an error's message
)

// Options say how to draw.
type Options struct {
	// Width is the most columns that a line takes; 0 means term.DefaultWidth, and the least is 40.
	Width int
	// ASCII draws with 7-bit characters only, for terminals whose locale is not UTF-8.
	ASCII bool
	// Color adds ANSI colours. The words say the same without them.
	Color bool
}

type glyphs struct{ tee, corner, pipe, blank, bar, tick, cut string }

var (
	unicodeGlyphs = glyphs{"├─ ", "└─ ", "│  ", "   ", "█", "▏", "…"}
	unicodeNarrow = glyphs{"├", "└", "│", " ", "█", "▏", "…"}
	asciiGlyphs   = glyphs{"|- ", "`- ", "|  ", "   ", "=", "|", "~"}
	asciiNarrow   = glyphs{"|", "`", "|", " ", "=", "|", "~"}
)

// colours are those of the services, in order of appearance. Red is kept for errors.
var colours = []string{"\x1b[36m", "\x1b[33m", "\x1b[35m", "\x1b[32m", "\x1b[34m"}

// row is one span in drawing order.
type row struct {
	span   *tempo.Span
	prefix string // tree lines before the name
	below  string // tree lines of what stands under this row
	note   string // what is odd about the span
}

// Render writes the drawing, every line ended by a newline. Characters in names that could move the
// cursor or reorder the text become visible ones. The error is w's.
func Render(w io.Writer, t *tempo.Trace, o Options) error {
	if t == nil || len(t.Spans) == 0 {
		_, err := io.WriteString(w, "no spans yet\n")
		return err
	}
	wide, narrow := unicodeGlyphs, unicodeNarrow
	if o.ASCII {
		wide, narrow = asciiGlyphs, asciiNarrow
	}
	if o.Width == 0 {
		o.Width = term.DefaultWidth
	}
	o.Width = max(o.Width, minWidth)
	d := newDrawing(t, o, wide)
	if !d.measure() {
		d = newDrawing(t, o, narrow)
		d.measure()
	}
	d.draw(t.ID)
	_, err := io.WriteString(w, d.out.String())
	return err
}

type drawing struct {
	Options
	glyphs

	rows       []row
	start, end time.Time
	errors     int
	colourOf   map[string]string // by service

	name, service, duration, bars int // columns

	out strings.Builder
}

func newDrawing(t *tempo.Trace, o Options, g glyphs) *drawing {
	d := &drawing{Options: o, glyphs: g, colourOf: map[string]string{}}
	d.start, d.end = t.Bounds()
	known := map[string]bool{}
	for _, s := range t.Spans {
		known[s.SpanID] = true
	}
	seen := map[*tempo.Span]bool{}
	for _, root := range append(t.Roots(), t.Spans...) { // spans whose parents form a circle have no root
		d.addTree(root, known, seen)
	}
	for _, r := range d.rows {
		if r.span.Status == "error" {
			d.errors++
		}
		if _, ok := d.colourOf[r.span.Service]; !ok {
			d.colourOf[r.span.Service] = colours[len(d.colourOf)%len(colours)]
		}
	}
	return d
}

// addTree adds a row for a span and for each span below it. Each span is drawn once, whatever the
// data says about parents.
func (d *drawing) addTree(root *tempo.Span, known map[string]bool, seen map[*tempo.Span]bool) {
	// A stack instead of recursion: a trace may be as deep as it is long.
	stack := []row{{span: root}}
	for len(stack) > 0 {
		r := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if seen[r.span] {
			continue
		}
		seen[r.span] = true
		if r.span.ParentID != "" && !known[r.span.ParentID] {
			r.note = "its parent is not here"
		}
		indent := r.below
		// Only a line's width of it is ever drawn; the rest would cost the square of the depth.
		if lines := []rune(indent); len(lines) > d.Width {
			indent = string(lines[len(lines)-d.Width:])
		}
		var children []*tempo.Span
		for _, c := range r.span.Children {
			if !seen[c] {
				children = append(children, c)
			}
		}
		if len(children) > 0 {
			r.below += d.pipe
		}
		d.rows = append(d.rows, r)
		for i, c := range slices.Backward(children) {
			if i == len(children)-1 {
				stack = append(stack, row{span: c, prefix: indent + d.corner, below: indent + d.blank})
			} else {
				stack = append(stack, row{span: c, prefix: indent + d.tee, below: indent + d.pipe})
			}
		}
	}
}

// measure divides the width: what service and duration need, then bars, then names. It reports
// whether the names fit.
func (d *drawing) measure() bool {
	for _, r := range d.rows {
		d.name = max(d.name, term.Columns(r.prefix)+term.Columns(d.clean(r.span.Name)))
		d.service = max(d.service, term.Columns(d.clean(r.span.Service)))
		d.duration = max(d.duration, term.Columns(duration(r.span)))
	}
	d.service = min(d.service, maxService)
	// Two blanks stand between names, services, durations and bars.
	left := d.Width - d.service - d.duration - 6
	wanted := d.name
	d.name = max(minName, min(d.name, left-minBars))
	d.bars = max(0, left-d.name)
	return wanted <= d.name
}

func (d *drawing) draw(id string) {
	fmt.Fprintf(&d.out, "trace %s  %s  %s", d.clean(id), term.Count(len(d.rows), "span"), term.Duration(d.end.Sub(d.start)))
	if d.errors > 0 {
		d.out.WriteString("  " + d.paint(term.Red, term.Count(d.errors, "error")))
	}
	d.out.WriteString("\n")
	d.axis()
	for _, r := range d.rows {
		s := r.span
		colour := d.colourOf[s.Service]
		name := d.clean(s.Name)
		room := d.name - min(minName, term.Columns(name)) // for the lines of the tree
		name = term.Fit(d.clip(r.prefix, room)+name, d.name, d.cut)
		service := term.Fit(d.clean(s.Service), d.service, d.cut)
		line := term.Pad(name, d.name) + "  " + d.paint(colour, term.Pad(service, d.service)) + "  " +
			term.PadLeft(duration(s), d.duration)
		if d.bars > 0 {
			line += "  " + d.paint(colour, d.bar(s))
		}
		d.out.WriteString(strings.TrimRight(line, " ") + "\n")
		below := d.clip(r.below, room)
		if r.note != "" {
			d.under(below, term.Faint, "("+r.note+")")
		}
		if s.Status == "error" {
			text := "ERROR"
			if s.StatusMessage != "" {
				text += ": " + d.clean(s.StatusMessage)
			}
			d.under(below, term.Red, text)
		}
	}
}

// clip shortens the lines of a deep tree from the left: they would push the names out.
func (d *drawing) clip(prefix string, limit int) string {
	lines := []rune(prefix)
	if len(lines) <= limit {
		return prefix
	}
	if limit <= 1 {
		return d.cut
	}
	return d.cut + string(lines[len(lines)-limit+1:])
}

// under writes a text about the row above it, wrapped.
func (d *drawing) under(below, colour, text string) {
	room := d.Width - term.Columns(below)
	lines := term.Wrap(text, room)
	if len(lines) > maxMessage {
		lines = append(lines[:maxMessage-1], term.Fit(strings.Join(lines[maxMessage-1:], " "), room, d.cut))
	}
	for _, line := range lines {
		d.out.WriteString(below + d.paint(colour, line) + "\n")
	}
}

// axis writes the scale above the bars.
func (d *drawing) axis() {
	total := term.Duration(d.end.Sub(d.start))
	if d.bars < len("0 ")+term.Columns(total) {
		return
	}
	lead := d.name + d.service + d.duration + 6
	d.out.WriteString(strings.Repeat(" ", lead) + d.paint(term.Faint, "0"+term.PadLeft(total, d.bars-1)) + "\n")
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
	from, to := at(s.Start), at(s.End)
	first, last := int(from+0.5), int(to+0.5)
	if last <= first {
		return strings.Repeat(" ", min(int(from), d.bars-1)) + d.tick
	}
	return strings.Repeat(" ", first) + strings.Repeat(d.glyphs.bar, last-first)
}

func (d *drawing) paint(colour, text string) string { return term.Paint(d.Color, colour, text) }

func (d *drawing) clean(s string) string {
	if s = term.Clean(s); d.ASCII {
		s = term.ASCII(s, nil)
	}
	return s
}

func duration(s *tempo.Span) string { return term.Duration(s.End.Sub(s.Start)) }
