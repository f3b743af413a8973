package ledger

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"example.com/grafana-tempo-go-demo/demo/header"
	"example.com/grafana-tempo-go-demo/demo/term"
)

const explanation = "A header carries the id of the sender's span. A receiver that continues the trace makes that span " +
	"the parent of its own. Sampled: the sender records its span, and a receiver that obeys the flag records its own too."

// Fprint writes requests for a reader at a terminal of 80 columns, in the given order, without
// colours or control characters. The error is w's.
func Fprint(w io.Writer, requests []Request) error {
	var text strings.Builder
	// Each line is wrapped behind the lead, or behind as many spaces.
	write := func(lead string, lines ...string) {
		for _, line := range lines {
			text.WriteString(term.Hang(lead, term.Clean(line), term.DefaultWidth))
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
			if h.Left != nil {
				write("   left    ", inLines(h.Left)...)
			}
			if h.Left != nil && sameHeaders(h.Left, h.Arrived) {
				write("   arrived ", "the same")
			} else if h.Arrived != nil {
				write("   arrived ", inLines(h.Arrived)...)
			}
			if h.TraceResponse != nil {
				write("   back    ", "traceresponse "+h.TraceResponse.Value)
			}
			write("   so      ", h.Says)
		}
		text.WriteString("\n")
	}
	if len(requests) > 0 {
		write("", explanation)
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// inLines says what headers are.
func inLines(headers []header.Header) (lines []string) {
	for _, h := range headers {
		lines = append(lines, h.Name+" "+h.Value)
		switch {
		case h.Problem != "":
			lines = append(lines, "malformed: "+h.Problem)
		case h.Unsampled():
			lines = append(lines, "the id of a span of "+Named(h.Sender)+", not sampled")
		case h.TraceID != "":
			lines = append(lines, "the id of a span of "+Named(h.Sender)+", sampled")
		}
	}
	if len(lines) == 0 {
		return []string{"no propagation header"}
	}
	return lines
}
