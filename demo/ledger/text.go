package ledger

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"example.com/grafana-tempo-go-demo/demo/header"
	"example.com/grafana-tempo-go-demo/demo/term"
)

var explanation = []string{
	"A header carries the id of the sender's span. In a trace that continues, that span is the parent of the receiver's. " +
		"Logs do not have its name; the trace does.",
	"Sampled: the sender records its span, and a receiver that obeys the flag records its own too. " +
		"Not sampled: they record none.",
}

// Fprint writes requests for a reader at a terminal of 80 columns, in the given order, without
// colours. What comes from headers is written in printable ASCII alone, everything else of it
// escaped as in Go. Words that are too long for a line are cut. The error is w's.
func Fprint(w io.Writer, requests []Request) error {
	var text strings.Builder
	// Each line is wrapped behind the lead, or behind as many spaces.
	write := func(lead string, lines ...string) {
		for _, line := range lines {
			words := strings.Fields(safe(line))
			for i, word := range words {
				words[i] = term.Fit(word, term.DefaultWidth-len(lead), "...")
			}
			text.WriteString(term.Hang(lead, strings.Join(words, " "), term.DefaultWidth))
			lead = strings.Repeat(" ", len(lead))
		}
	}
	capitals := func(word string) string { return strings.ToUpper(strings.ReplaceAll(word, "-", " ")) }
	for _, r := range requests {
		title := r.Method + " " + r.Host + r.Path + strings.TrimSuffix("?"+r.Query, "?")
		if r.Status != 0 {
			title += fmt.Sprintf(" -> %d %s", r.Status, http.StatusText(r.Status))
		}
		if r.DurationMS != 0 {
			title += fmt.Sprintf(" after %.1f ms", r.DurationMS)
		}
		write("", title)
		write("  ", r.Time.UTC().Format("15:04:05.000")+" "+capitals(string(r.Outcome))+": "+r.Summary)
		for i, h := range r.Hops {
			text.WriteString("\n")
			write(fmt.Sprintf("  %d. ", i+1), h.From+" -> "+h.To+": "+capitals(string(h.Action)))
			if h.Left.Source == Recorded {
				write("   left    ", inLines(h.Left.Headers)...)
			}
			if h.Left.Source == Recorded && SameHeaders(h.Left.Headers, h.Arrived.Headers) {
				write("   arrived ", "the same")
			} else if h.Arrived.Source == Recorded {
				write("   arrived ", inLines(h.Arrived.Headers)...)
			}
			if h.TraceResponse != nil {
				write("   back    ", "traceresponse "+oneWord(h.TraceResponse.Value))
			}
			write("   so      ", h.Says)
		}
		text.WriteString("\n")
	}
	if len(requests) > 0 {
		write("", explanation...)
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// inLines says what headers are.
func inLines(headers []header.Header) (lines []string) {
	for _, h := range headers {
		lines = append(lines, h.Name+" "+oneWord(h.Value))
		about := []string{h.Problem, h.Note}
		if h.TraceID != "" {
			about = []string{"the id of a span of " + Named(h.Sender), "sampled", h.Note}
			if h.Unsampled() {
				about[1] = "not sampled"
			}
		} else if !h.Valid {
			about[0] = "malformed: " + h.Problem
		}
		if said := strings.Trim(strings.Join(about, ", "), ", "); said != "" {
			lines = append(lines, said)
		}
	}
	if len(lines) == 0 {
		return []string{"no propagation header"}
	}
	return lines
}

// oneWord keeps a header's value from looking like two.
func oneWord(value string) string { return strings.ReplaceAll(safe(value), " ", `\x20`) }

// safe returns a text in printable ASCII, with everything else escaped.
func safe(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
		return s
	}
	quoted := strconv.QuoteToASCII(s)
	return quoted[1 : len(quoted)-1]
}
