package tour

import (
	_ "embed"
	"io"
	"net/http"
	"os"
	"regexp"
	"text/template"
	"time"

	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/demo/term"
	"example.com/grafana-tempo-go-demo/demo/waterfall"
)

//go:embed story.tmpl
var storyText string

var story = template.Must(template.New("story").Funcs(template.FuncMap{
	"carried":    carried,
	"clean":      term.Clean,
	"statusText": http.StatusText,
	"took":       func(ms float64) string { return term.Duration(time.Duration(ms * float64(time.Millisecond))) },
}).Parse(storyText))

// Text prints the story for people, as wide as the terminal. The error is w's.
func (r *Report) Text(w io.Writer) error {
	drawing := waterfall.Render(r.trace,
		waterfall.Options{Width: term.Width(w), ASCII: term.ASCIIOnly(os.Getenv), Color: term.Colours(w)})
	busiest, own := busiest(r.trace)
	return story.Execute(w, struct {
		*Report
		Drawing string
		Timeout time.Duration
		Failed  *tempo.Span // where the error began
		Busiest *tempo.Span
		Own     string
	}{r, drawing, traceTimeout, r.trace.ErrorOrigin(), busiest, term.Duration(own)})
}

// carried is the header that arrived at a hop; the first digits of its ids tell them apart.
func carried(h ledger.Hop) string {
	if len(h.Arrived.Headers) == 0 {
		return "no propagation header"
	}
	header := h.Arrived.Headers[0]
	return header.Name + " " + longID.ReplaceAllString(header.Value, "$1..")
}

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
