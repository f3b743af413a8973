// Package waterfall draws a trace as text: a tree of spans, and beside it the bar of each on one common time axis. It
// serves the terminal (`demo tour`) and the plain page.
package waterfall

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"

	"example.com/grafana-tempo-go-demo/demo/tempo"
)

// DefaultWidth is the width of a drawing when Options do not say, in columns.
const DefaultWidth = 80

const (
	minWidth   = 40
	minBars    = 16 // columns of bars below which the names are shortened instead
	minName    = 10 // columns of a name below which the lines of the tree are shortened instead
	maxService = 16
	maxMessage = 5 // lines of an error's message
)

// Options say how to draw.
type Options struct {
	// Width is the most columns that a line takes; 0 means DefaultWidth, less than 40 is taken as 40.
	Width int
	// ASCII draws with 7-bit characters only, for terminals whose locale is not UTF-8.
	ASCII bool
	// Color adds ANSI colours. They say nothing that the words do not say as well.
	Color bool
}

type glyphs struct{ tee, corner, pipe, blank, bar, tick, cut string }

var (
	unicodeGlyphs = glyphs{"├─ ", "└─ ", "│  ", "   ", "█", "▏", "…"}
	unicodeNarrow = glyphs{"├", "└", "│", " ", "█", "▏", "…"}
	asciiGlyphs   = glyphs{"|- ", "`- ", "|  ", "   ", "=", "|", "~"}
	asciiNarrow   = glyphs{"|", "`", "|", " ", "=", "|", "~"}
)

// ANSI sequences: one colour per service in order of appearance, red kept for errors.
const (
	reset = "\x1b[0m"
	red   = "\x1b[1;31m"
	faint = "\x1b[2m"
)

var colours = []string{"\x1b[36m", "\x1b[33m", "\x1b[35m", "\x1b[32m", "\x1b[34m"}

// row is one span in drawing order.
type row struct {
	span   *tempo.Span
	prefix string // tree lines before the name
	below  string // tree lines of what stands under this row
	note   string // a word on what is odd about it
}

// Render writes the drawing, every line ended by a newline. Characters in names that could move the cursor or turn the
// text around are made visible instead. The error is w's.
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
		o.Width = DefaultWidth
	}
	o.Width = max(o.Width, minWidth)
	d := &drawing{Options: o, glyphs: wide}
	d.collect(t)
	if !d.measure() { // then with a smaller indent
		d = &drawing{Options: o, glyphs: narrow}
		d.collect(t)
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
	colourOf   map[string]string

	name, service, duration, bars int // columns

	out strings.Builder
}

// collect flattens the tree. A span is drawn once whatever the data says about parents.
func (d *drawing) collect(t *tempo.Trace) {
	d.colourOf = map[string]string{}
	known := map[string]bool{}
	for _, s := range t.Spans {
		known[s.SpanID] = true
	}
	seen := map[*tempo.Span]bool{}
	type item struct {
		span         *tempo.Span
		prefix, rest string
	}
	walk := func(root *tempo.Span) {
		// A stack instead of recursion: a trace may be as deep as it is long.
		stack := []item{{span: root}}
		for len(stack) > 0 {
			it := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			if seen[it.span] {
				continue
			}
			seen[it.span] = true
			r := row{span: it.span, prefix: it.prefix, below: it.rest}
			if it.span.ParentID != "" && !known[it.span.ParentID] {
				r.note = "its parent is not here"
			}
			var children []*tempo.Span
			for _, c := range it.span.Children {
				if !seen[c] {
					children = append(children, c)
				}
			}
			if len(children) > 0 {
				r.below += d.pipe
			}
			d.rows = append(d.rows, r)
			// What is left of a whole line's width is never drawn, and would cost the square of a trace's depth.
			if lines := []rune(it.rest); len(lines) > d.Width {
				it.rest = string(lines[len(lines)-d.Width:])
			}
			for i, c := range slices.Backward(children) {
				if i == len(children)-1 {
					stack = append(stack, item{c, it.rest + d.corner, it.rest + d.blank})
				} else {
					stack = append(stack, item{c, it.rest + d.tee, it.rest + d.pipe})
				}
			}
		}
	}
	for _, root := range t.Roots() {
		walk(root)
	}
	for _, s := range t.Spans { // left are only circles
		if !seen[s] {
			walk(s)
		}
	}
	for i, r := range d.rows {
		s := r.span
		if i == 0 || s.Start.Before(d.start) {
			d.start = s.Start
		}
		if i == 0 || s.End.After(d.end) {
			d.end = s.End
		}
		if s.Status == "error" {
			d.errors++
		}
		if _, ok := d.colourOf[s.Service]; !ok {
			d.colourOf[s.Service] = colours[len(d.colourOf)%len(colours)]
		}
	}
}

// measure shares the width out: what service and duration need, then bars, then names. It tells whether the names fit.
func (d *drawing) measure() bool {
	for _, r := range d.rows {
		d.name = max(d.name, columns(r.prefix)+columns(d.clean(r.span.Name)))
		d.service = max(d.service, columns(d.clean(r.span.Service)))
		d.duration = max(d.duration, columns(duration(r.span)))
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
	fmt.Fprintf(&d.out, "trace %s  %s  %s", d.clean(id), count(len(d.rows), "span"), Duration(d.end.Sub(d.start)))
	if d.errors > 0 {
		d.out.WriteString("  " + d.paint(red, count(d.errors, "error")))
	}
	d.out.WriteString("\n")
	d.axis()
	for _, r := range d.rows {
		s := r.span
		colour := d.colourOf[s.Service]
		name := d.clean(s.Name)
		room := d.name - min(minName, columns(name)) // for the lines of the tree
		below := d.clip(r.below, room)
		name = fit(d.clip(r.prefix, room)+name, d.name, d.cut)
		line := d.paint("", pad(name, d.name)) + "  " +
			d.paint(colour, pad(fit(d.clean(s.Service), d.service, d.cut), d.service)) + "  " +
			padLeft(duration(s), d.duration)
		if d.bars > 0 {
			line += "  " + d.paint(colour, d.bar(s))
		}
		d.out.WriteString(strings.TrimRight(line, " ") + "\n")
		if r.note != "" {
			d.under(below, faint, "("+r.note+")")
		}
		if s.Status == "error" {
			text := "ERROR"
			if s.StatusMessage != "" {
				text += ": " + d.clean(s.StatusMessage)
			}
			d.under(below, red, text)
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

// under writes a text about the row above it, broken into lines.
func (d *drawing) under(below, colour, text string) {
	room := d.Width - columns(below)
	for i := 0; text != "" && i < maxMessage; i++ {
		line := text
		if columns(text) > room && i < maxMessage-1 {
			line = fit(text, room, "")
			if at := strings.LastIndexByte(line, ' '); at > 0 {
				line = line[:at]
			}
		}
		text = strings.TrimLeft(text[len(line):], " ")
		d.out.WriteString(below + d.paint(colour, fit(line, room, d.cut)) + "\n")
	}
}

// axis writes the scale above the bars.
func (d *drawing) axis() {
	total := Duration(d.end.Sub(d.start))
	if d.bars < len("0")+1+columns(total) {
		return
	}
	lead := d.name + d.service + d.duration + 6
	gap := d.bars - 1 - columns(total)
	d.out.WriteString(strings.Repeat(" ", lead) + d.paint(faint, "0"+strings.Repeat(" ", gap)+total) + "\n")
}

// bar is the time of one span on the common axis. Whatever is too short to be seen gets a thin mark.
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

func (d *drawing) paint(colour, text string) string {
	if !d.Color || colour == "" {
		return text
	}
	return colour + text + reset
}

func (d *drawing) clean(s string) string {
	if !d.ASCII {
		return Clean(s)
	}
	return strings.Map(func(r rune) rune {
		if r > unicode.MaxASCII {
			return '?'
		}
		return r
	}, Clean(s))
}

// Clean makes text from a trace safe to print on one line: control characters, line separators and the invisible ones
// that reorder text become the replacement character, and so does what is not UTF-8.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co, unicode.Cs) {
			return utf8.RuneError
		}
		return r
	}, s)
}

// columns is how many cells of a terminal a text takes.
func columns(s string) int {
	n := 0
	for _, r := range s {
		n += runeColumns(r)
	}
	return n
}

func runeColumns(r rune) int {
	if unicode.In(r, unicode.Mn, unicode.Me) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// fit shortens a text to n columns and marks that it did.
func fit(s string, n int, cut string) string {
	if columns(s) <= n {
		return s
	}
	var b strings.Builder
	left := n - columns(cut)
	for _, r := range s {
		if left -= runeColumns(r); left < 0 {
			break
		}
		b.WriteRune(r)
	}
	return b.String() + cut
}

func pad(s string, n int) string     { return s + strings.Repeat(" ", max(0, n-columns(s))) }
func padLeft(s string, n int) string { return strings.Repeat(" ", max(0, n-columns(s))) + s }

func duration(s *tempo.Span) string { return Duration(s.End.Sub(s.Start)) }

// Duration writes a length of time with three digits or so, in the unit that suits it, such as "149 ms" or "1.56 s".
func Duration(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + Duration(-d)
	case d == 0:
		return "0 ms"
	case d < time.Millisecond:
		return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Round(time.Millisecond)/time.Millisecond)
	default:
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
