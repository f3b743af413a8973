package tour

import (
	"fmt"
	"slices"
	"strings"

	"example.com/grafana-tempo-go-demo/demo/story"
	"example.com/grafana-tempo-go-demo/demo/term"
)

const (
	minWidth   = 60 // of a line
	minBars    = 16 // columns of bars below which the names are shortened instead
	maxService = 16 // columns
	maxDepth   = 12 // of the tree; deeper spans stand at this level
)

// colours are those of the services, in order of appearance. Red is kept for errors.
var colours = []string{"\x1b[36m", "\x1b[33m", "\x1b[35m", "\x1b[32m", "\x1b[34m"}

// The lines of the tree, by whether a span with the same parent follows.
var (
	branch = map[bool]string{true: "├─ ", false: "└─ "}
	line   = map[bool]string{true: "│  ", false: "   "}
)

// row is a line of a drawing: a span, or the time that nobody measured.
type row struct {
	depth                   int
	name, service, duration string
	colour, glyph           string
	bar                     []story.Interval
	notes                   []note
	below                   string // the lines of the tree, as they go on in front of the notes
}

// note is a text under a row.
type note struct{ colour, text string }

// draw draws a trace: a tree of spans, and beside it the bar of each on one common time axis. Lines have
// up to width columns, at least minWidth.
func draw(t *story.Trace, width int, coloured bool) string {
	width = max(width, minWidth)
	rows := rowsOf(t)
	name, service, duration := 0, 0, 0
	for _, r := range rows {
		name = max(name, term.Columns(r.name))
		service = max(service, min(term.Columns(r.service), maxService))
		duration = max(duration, term.Columns(r.duration))
	}
	left := width - service - duration - 6 // two blanks stand between the columns
	name = min(name, left-minBars)
	bars := left - name

	paint := func(colour, text string) string { return term.Paint(coloured, colour, text) }
	cell := func(text string, columns int) string { return term.Pad(term.Fit(text, columns, "…"), columns) + "  " }
	total, spans := t.Duration.String(), term.Count(len(t.Spans), "span")
	if t.Errors > 0 {
		spans = paint(term.Red, fmt.Sprintf("%d of %s failed", t.Errors, spans))
	}
	var out strings.Builder
	fmt.Fprintf(&out, "trace %s  %s  %s\n", t.ID, spans, total)
	fmt.Fprintf(&out, "%*s%s\n", width-bars, "", paint(term.Faint, fmt.Sprintf("0%*s", bars-1, total)))
	for _, r := range rows {
		fmt.Fprintf(&out, "%s%s%*s  %s\n", cell(r.name, name), paint(r.colour, cell(r.service, service)),
			duration, r.duration, paint(r.colour, r.onAxis(t.Duration, bars)))
		for _, n := range r.notes {
			for _, text := range term.Wrap(n.text, width-term.Columns(r.below)) {
				fmt.Fprintln(&out, r.below+paint(n.colour, text))
			}
		}
	}
	return out.String()
}

// rowsOf lists the spans, and the unexplained time below the call that would explain it.
func rowsOf(t *story.Trace) (rows []row) {
	unexplained := func(depth int) {
		rows = append(rows, row{depth: min(depth, maxDepth), name: "unexplained", duration: t.Dark.Time.String(),
			colour: term.Faint, glyph: "░", bar: t.Dark.Pieces})
	}
	for _, s := range t.Spans {
		service := slices.IndexFunc(t.Services, func(known story.Service) bool { return known.Name == s.Service })
		r := row{depth: min(s.Depth, maxDepth), name: term.Clean(s.Name), service: term.Clean(s.Service),
			duration: s.Duration.String(), colour: colours[service%len(colours)], glyph: "█", bar: []story.Interval{s.Interval}}
		if s.Orphan {
			r.notes = append(r.notes, note{term.Faint, "(its parent is not here)"})
		}
		if s.Status == "error" {
			r.notes = append(r.notes, note{term.Red, strings.TrimSuffix("ERROR: "+term.Clean(s.StatusMessage), ": ")})
		}
		rows = append(rows, r)
		if t.Dark != nil && t.Dark.Span == s.Index { // it has no children
			unexplained(s.Depth + 1)
		}
	}
	if t.Dark != nil && t.Dark.Span < 0 {
		unexplained(0)
	}
	var follows [maxDepth + 2]bool // by level
	for i := range slices.Backward(rows) {
		r := &rows[i]
		for level := 1; level < r.depth; level++ {
			r.below += line[follows[level]]
		}
		if r.depth > 0 {
			r.name = r.below + branch[follows[r.depth]] + r.name
			r.below += line[follows[r.depth]]
		}
		if follows[r.depth+1] {
			r.below += line[true]
		}
		follows[r.depth], follows[r.depth+1] = true, false
	}
	return rows
}

// onAxis is the bar of a row. What is too short to be seen gets a thin mark.
func (r row) onAxis(whole story.Time, columns int) string {
	cells := slices.Repeat([]string{" "}, columns)
	at := func(t story.Time) int { return int(float64(t)/float64(max(1, whole))*float64(columns) + 0.5) }
	for _, piece := range r.bar {
		from, to := at(piece.From), at(piece.To)
		for i := from; i < to; i++ {
			cells[i] = r.glyph
		}
		if from == to {
			cells[min(from, columns-1)] = "▏"
		}
	}
	return strings.TrimRight(strings.Join(cells, ""), " ")
}
