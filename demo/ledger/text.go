package ledger

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/term"
)

// Fprint writes requests for a reader at a terminal of 80 columns, in the given order, without
// colours. What comes from headers is written in printable ASCII alone, everything else of it
// escaped as in Go. The error is w's.
func Fprint(w io.Writer, requests []Request) error {
	var t text
	for i, r := range requests {
		if i > 0 {
			t.WriteString("\n")
		}
		t.request(r)
	}
	_, err := io.WriteString(w, t.String())
	return err
}

type text struct{ strings.Builder }

// para writes a paragraph behind a lead. Words that are too long for a line are cut.
func (t *text) para(lead, format string, args ...any) {
	words := strings.Fields(fmt.Sprintf(format, args...))
	for i, word := range words {
		words[i] = term.Fit(word, term.DefaultWidth-len(lead), "...")
	}
	t.WriteString(term.Hang(lead, strings.Join(words, " "), term.DefaultWidth))
}

func (t *text) request(r Request) {
	head := safe(r.Method) + " " + safe(r.Host+r.Path)
	if r.Query != "" {
		head += safe("?" + r.Query)
	}
	if r.Status != 0 {
		head += fmt.Sprintf(" -> %d %s", r.Status, http.StatusText(r.Status))
	}
	if r.DurationMS >= 100 {
		head += fmt.Sprintf(" after %.0f ms", r.DurationMS)
	} else if r.DurationMS > 0 {
		head += fmt.Sprintf(" after %.1f ms", r.DurationMS)
	}
	t.para("", "%s", head)
	t.para("  ", "%s %s: %s", clock(r.Time), upper(r.Outcome), safe(r.Summary))
	for i, h := range r.Hops {
		t.WriteString("\n")
		t.hop(fmt.Sprintf("  %d. ", i+1), h)
	}
	if len(r.Untied) == 0 {
		return
	}
	t.WriteString("\n")
	t.para("  ", "Not tied to this request or any other, because no context arrived:")
	for _, h := range r.Untied {
		t.WriteString("\n")
		t.para("  ?  ", "? -> %s: %s, at %s", safe(h.To), upper(h.Action), clock(h.Time))
		t.headers("     arrived ", h.Arrived.Headers)
		t.para("     so      ", "%s", safe(h.Says))
	}
	if more := r.UntiedTotal - len(r.Untied); more > 0 {
		t.para("     ", "and %d more", more)
	}
}

func (t *text) hop(lead string, h Hop) {
	const left, arrived = "   left    ", "   arrived "
	const same = "the same, as nothing is between the two (inferred)"
	t.para(lead, "%s -> %s: %s", safe(h.From), safe(h.To), upper(h.Action))
	switch {
	case h.Left.Source == NotKnown:
		t.para(left, "not recorded")
	case h.Left.Source == Recorded:
		t.headers(left, h.Left.Headers)
	case h.From != client:
		t.para(left, same)
	}
	switch {
	case h.Arrived.Source == NotKnown:
	case h.Arrived.Source == Inferred:
		t.para(arrived, same)
	case h.Left.Source == Recorded && sameHeaders(h.Left.Headers, h.Arrived.Headers):
		t.para(arrived, "the same")
	default:
		t.headers(arrived, h.Arrived.Headers)
	}
	if r := h.TraceResponse; r != nil && h.From != client {
		if r.Value == "" {
			t.para("   back    ", "%s names span %s (inferred from its log)", safe(h.To), r.SpanID)
		} else {
			t.para("   back    ", "%s %s", r.Name, safe(r.Value))
		}
	}
	t.para("   so      ", "%s", safe(h.Says))
}

// upper is a word of the package's terms as a headline.
func upper[T ~string](word T) string {
	return strings.ToUpper(strings.ReplaceAll(string(word), "-", " "))
}

// headers writes the headers of one end of a hop, each with what it means below.
func (t *text) headers(lead string, headers []Header) {
	if len(headers) == 0 {
		t.para(lead, "no propagation header")
	}
	for _, h := range headers {
		// A value is one word, so that it does not look like two.
		t.para(lead, "%s %s", h.Name, strings.ReplaceAll(safe(h.Value), " ", `\x20`))
		lead = strings.Repeat(" ", len(lead))
		t.meaning(lead, h)
	}
}

// meaning writes a header in words.
func (t *text) meaning(lead string, h Header) {
	var parts []string
	switch {
	case !h.Valid:
		parts = append(parts, "malformed: "+h.Problem)
	case h.TraceID != "":
		t.para(lead, "trace %s", h.TraceID)
		parts = append(parts, "span "+h.SpanID)
		if h.ParentID != "" {
			parts = append(parts, "parent "+safe(h.ParentID))
		}
		if *h.Sampled {
			parts = append(parts, "sampled")
		} else {
			parts = append(parts, "not sampled")
		}
	}
	for _, m := range h.Members[:min(4, len(h.Members))] {
		parts = append(parts, fmt.Sprintf("%s is %+q", safe(m.Key), cut(m.Value, 64)))
	}
	if h.Note != "" {
		parts = append(parts, h.Note)
	}
	if len(parts) > 0 {
		t.para(lead, "%s", strings.Join(parts, ", "))
	}
}

// clock is the time of day in UTC, as logs have it.
func clock(t time.Time) string { return t.UTC().Format("15:04:05.000") }

// safe returns a text in printable ASCII, with everything else escaped.
func safe(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
		return s
	}
	quoted := strconv.QuoteToASCII(s)
	return quoted[1 : len(quoted)-1]
}
