package ledger

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// textWidth is the most columns that a line takes.
const textWidth = 80

// Fprint writes requests for a reader at a terminal of 80 columns, in the given order. It uses no colour. What comes from
// headers is written in printable ASCII alone, everything else of it escaped as in Go. The error is w's.
func Fprint(w io.Writer, requests []Request) error {
	var t text
	for i, r := range requests {
		if i > 0 {
			t.b.WriteString("\n")
		}
		t.request(r)
	}
	_, err := io.WriteString(w, t.b.String())
	return err
}

type text struct{ b strings.Builder }

// para writes a paragraph. Its further lines are indented as far as lead is long; words that are too long for a line are
// cut.
func (t *text) para(lead, s string) {
	line, indent := lead, strings.Repeat(" ", len(lead))
	empty := true
	for word := range strings.FieldsSeq(s) {
		if !empty && len(line)+1+len(word) > textWidth {
			t.b.WriteString(strings.TrimRight(line, " ") + "\n")
			line, empty = indent, true
		}
		if !empty {
			line += " "
		}
		if room := textWidth - len(line); len(word) > room {
			word = word[:room-3] + "..."
		}
		line += word
		empty = false
	}
	t.b.WriteString(strings.TrimRight(line, " ") + "\n")
}

func (t *text) request(r Request) {
	url := safe(r.Host + r.Path)
	if r.Query != "" {
		url += safe("?" + r.Query)
	}
	head := safe(r.Method) + " " + url
	if r.Status != 0 {
		head += " -> " + strconv.Itoa(r.Status) + " " + http.StatusText(r.Status)
	}
	if r.DurationMS > 0 {
		head += fmt.Sprintf(" after %s ms", strconv.FormatFloat(r.DurationMS, 'f', precision(r.DurationMS), 64))
	}
	t.para("", head)
	t.para("  ", clock(r.Time)+"  "+strings.ToUpper(string(r.Outcome))+": "+safe(r.Summary))
	for i, h := range r.Hops {
		t.b.WriteString("\n")
		t.hop(fmt.Sprintf("  %d. ", i+1), h)
	}
	if len(r.Untied) == 0 {
		return
	}
	t.b.WriteString("\n")
	t.para("  ", "Not tied to this request or any other, because no context arrived:")
	for _, h := range r.Untied {
		t.b.WriteString("\n")
		t.para("  ?  ", fmt.Sprintf("? -> %s: %s, at %s", safe(h.To), upper(h.Action), clock(h.Time)))
		t.para("     arrived ", one(h.Arrived.Headers))
		t.para("     so      ", safe(h.Says))
	}
	if more := r.UntiedTotal - len(r.Untied); more > 0 {
		t.para("     ", fmt.Sprintf("and %d more", more))
	}
}

func (t *text) hop(lead string, h Hop) {
	t.para(lead, fmt.Sprintf("%s -> %s: %s", safe(h.From), safe(h.To), upper(h.Action)))
	const same = "the same, as nothing is between the two (inferred)"
	switch left, arrived := h.Left, h.Arrived; {
	case left.Source == NotKnown && arrived.Source == NotKnown:
		t.para("   left    ", "not recorded")
	case left.Source == Inferred && h.From == client:
		t.side("   arrived ", arrived)
	case left.Source == Inferred:
		t.para("   left    ", same)
		t.side("   arrived ", arrived)
	case arrived.Source == Inferred:
		t.side("   left    ", left)
		t.para("   arrived ", same)
	case sameHeaders(left.Headers, arrived.Headers):
		t.side("   left    ", left)
		t.para("   arrived ", "the same")
	default:
		t.side("   left    ", left)
		t.side("   arrived ", arrived)
	}
	if r := h.TraceResponse; r != nil && h.From != client {
		value := safe(r.Value)
		if r.Source == Inferred && r.Value == "" {
			value = fmt.Sprintf("%s names span %s (inferred from its log)", safe(h.To), r.SpanID)
		} else {
			value = r.Name + " " + value
		}
		t.para("   back    ", value)
	}
	t.para("   so      ", safe(h.Says))
}

// upper is an action as a headline.
func upper(a Action) string { return strings.ToUpper(strings.ReplaceAll(string(a), "-", " ")) }

// side writes the headers of one end, each with what it means below.
func (t *text) side(lead string, s Side) {
	if s.Source == NotKnown {
		t.para(lead, "not recorded")
		return
	}
	if len(s.Headers) == 0 {
		t.para(lead, "no propagation header")
		return
	}
	indent := strings.Repeat(" ", len(lead))
	for _, h := range s.Headers {
		t.para(lead, h.Name+" "+safeWord(h.Value))
		lead = indent
		for _, m := range meaning(h) {
			t.para(indent, m)
		}
	}
}

// meaning is a header in words, one line each.
func meaning(h Header) []string {
	var lines, parts []string
	switch {
	case !h.Valid:
		parts = append(parts, "malformed: "+h.Problem)
	case h.TraceID != "":
		lines = append(lines, "trace "+h.TraceID)
		span := "span " + h.SpanID
		if h.ParentID != "" {
			span += ", parent " + safe(h.ParentID)
		}
		if h.Sampled != nil && *h.Sampled {
			span += ", sampled"
		} else {
			span += ", not sampled"
		}
		parts = append(parts, span)
	case len(h.Members) > 0:
		for _, m := range h.Members[:min(4, len(h.Members))] {
			parts = append(parts, safe(m.Key+" is "+strconv.Quote(cut(m.Value, 64))))
		}
		if more := len(h.Members) - 4; more > 0 {
			parts = append(parts, fmt.Sprintf("and %d more", more))
		}
	}
	if h.Note != "" {
		parts = append(parts, h.Note)
	}
	if len(parts) > 0 {
		lines = append(lines, strings.Join(parts, ", "))
	}
	return lines
}

// one names the headers of a hop that carries no context in a line.
func one(headers []Header) string {
	if len(headers) == 0 {
		return "no propagation header"
	}
	var texts []string
	for _, h := range headers {
		texts = append(texts, h.Name+" "+safeWord(cut(h.Value, 64)))
	}
	return strings.Join(texts, ", ")
}

// clock is the time of day in UTC, as logs have it.
func clock(t time.Time) string {
	if t.IsZero() {
		return "--:--:--.---"
	}
	return t.UTC().Format("15:04:05.000")
}

func precision(ms float64) int {
	if ms < 100 {
		return 1
	}
	return 0
}

// safe returns a text in printable ASCII, with everything else escaped.
func safe(s string) string {
	if !slices.ContainsFunc([]byte(s), func(c byte) bool { return c < ' ' || c > '~' }) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case r >= ' ' && r <= '~':
			b.WriteByte(byte(r))
		default:
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		s = s[size:]
	}
	return b.String()
}

// safeWord is safe, and without blanks at which a paragraph would break: what looks like two values is one.
func safeWord(s string) string { return strings.ReplaceAll(safe(s), " ", "\\x20") }
