package tour

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/demo/term"
	"example.com/grafana-tempo-go-demo/demo/topology"
	"example.com/grafana-tempo-go-demo/demo/waterfall"
)

const next = `
What next:
   go run ./demo tour -fail database    see an error travel up
   go run ./demo tour -slow redis       see which one is slow
   go run ./demo                        keep it running, and look around in the browser
   go run ./demo up -break drop-header  the same with broken telemetry; docs/lab.md asks why
   diff -u uservice1/handlers.go uservice3/handlers.go
                                        the lines that make the difference
`

// Text prints the story for people, as wide as the terminal. The error is w's.
func (r *Report) Text(w io.Writer) error {
	var b strings.Builder
	b.WriteString("\n1. uservice1, which is not instrumented\n\n")
	writeCall(&b, r.Plain)
	b.WriteString("   That is all an outsider can know: it answered, and how long it took.\n")
	b.WriteString("\n2. uservice3, the same program with a few lines more\n\n")
	writeCall(&b, r.Instrumented)
	fmt.Fprintf(&b, "   traceresponse: %s\n   This header of the answer names its trace.\n",
		term.Clean(r.Instrumented.TraceResponse))
	b.WriteString("\n3. The trace, as the collector received it\n\n")
	drawing := waterfall.Options{Width: term.Width(w), ASCII: term.ASCIIOnly(os.Getenv), Color: term.Colours(w)}
	if err := waterfall.Render(&b, r.trace, drawing); err != nil {
		return fmt.Errorf("draw the trace: %w", err)
	}
	if !r.Trace.Complete {
		fmt.Fprintf(&b, "\n   It is not complete: spans were still missing after %s.\n", traceTimeout)
	}
	if s, own := busiest(r.trace); s != nil {
		fmt.Fprintf(&b, "\n   Now it can be said where the time went: %s of it in %s of %s.\n",
			term.Duration(own), term.Clean(s.Name), term.Clean(s.Service))
	}
	b.WriteString("\n4. Which way the header went, hop by hop\n")
	writeHops(&b, topology.Uservice1, r.Ledger.Plain)
	writeHops(&b, topology.Uservice3, r.Ledger.Instrumented)
	b.WriteString(next)
	_, err := io.WriteString(w, b.String())
	return err
}

func writeCall(b *strings.Builder, c Call) {
	took := time.Duration(c.DurationMS * float64(time.Millisecond))
	fmt.Fprintf(b, "   GET %s\n   -> %d %s after %s\n", c.URL, c.Status, http.StatusText(c.Status), term.Duration(took))
}

// writeHops prints a request's hops, one a line.
func writeHops(b *strings.Builder, service string, r *ledger.Request) {
	fmt.Fprintf(b, "\n   the call of %s\n", service)
	if r == nil {
		b.WriteString("      is not in the ledger\n")
		return
	}
	write := func(from string, h ledger.Hop, verdict string) {
		carried := "no propagation header"
		if headers := h.Arrived.Headers; len(headers) > 0 {
			carried = headers[0].Name + " " + longID.ReplaceAllString(headers[0].Value, "$1..")
		}
		line := fmt.Sprintf("      %-10s-> %-10s %-42s %s", from, h.To, carried, verdict)
		b.WriteString(term.Clean(line) + "\n")
	}
	for _, h := range r.Hops {
		write(h.From, h, string(h.Action))
	}
	for _, h := range r.Untied {
		write("?", h, "cannot be tied to it")
	}
	b.WriteString("      " + term.Clean(r.Summary) + "\n")
}

// longID finds ids, of which the first digits are enough to see that two are the same.
var longID = regexp.MustCompile(`\b([0-9a-f]{8})[0-9a-f]{8,}\b`)

// busiest returns the span with the most time of its own, that is, not spent in the spans under it.
func busiest(t *tempo.Trace) (found *tempo.Span, most time.Duration) {
	for _, s := range t.Spans {
		own := s.End.Sub(s.Start)
		for _, c := range s.Children {
			own -= c.End.Sub(c.Start)
		}
		if own > most {
			found, most = s, own
		}
	}
	return found, most
}
