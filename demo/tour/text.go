package tour

import (
	_ "embed"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"time"

	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/demo/term"
	"example.com/grafana-tempo-go-demo/demo/topology"
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
	drawing := waterfall.Render(r.traces[0],
		waterfall.Options{Width: term.Width(w), ASCII: term.ASCIIOnly(os.Getenv), Color: term.Colours(w)})
	busiest, own := busiest(r.traces[0])
	return story.Execute(w, struct {
		*Report
		Drawing string
		Timeout time.Duration
		Failed  *tempo.Span // where the error began
		Busiest *tempo.Span
		Own     string
		Calls   []call
		SpanIn  func(ledger.Hop) string
		Asked   func(query string) bool
	}{r, drawing, traceTimeout, r.traces[0].ErrorOrigin(), busiest, term.Duration(own),
		[]call{{topology.Uservice1, r.Ledger.Plain}, {topology.Uservice3, r.Ledger.Instrumented}}, r.spanIn,
		func(query string) bool { return strings.Contains(r.Instrumented.URL, query) }})
}

// carried is the header that arrived at a hop; the first digits of its ids tell them apart.
func carried(h ledger.Hop) string {
	if len(h.Arrived.Headers) == 0 {
		return "no propagation header"
	}
	header := h.Arrived.Headers[0]
	return header.Name + " " + longID.ReplaceAllString(header.Value, "$1..")
}

// call is a call with what the ledger has of it, or nil.
type call struct {
	Of   string
	Hops *ledger.Request
}

// spanIn names the span whose id the header carries that arrived at a hop; empty if it carries none.
func (r *Report) spanIn(h ledger.Hop) string {
	if len(h.Arrived.Headers) == 0 || h.Arrived.Headers[0].SpanID == "" {
		return ""
	}
	header := h.Arrived.Headers[0]
	for _, t := range r.traces {
		i := slices.IndexFunc(t.Spans, func(s *tempo.Span) bool { return s.SpanID == header.SpanID })
		if t.ID == header.TraceID && i >= 0 {
			return t.Spans[i].Name + " of " + t.Spans[i].Service
		}
	}
	return "a span of " + header.Sender + ", which has not arrived"
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
