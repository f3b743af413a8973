package tour

import (
	_ "embed"
	"io"
	"net/http"
	"regexp"
	"strings"
	"text/template"
	"time"

	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/story"
	"example.com/grafana-tempo-go-demo/demo/term"
)

//go:embed story.tmpl
var storyText string

var page = template.Must(template.New("tour").Funcs(template.FuncMap{
	"carried":    carried,
	"clean":      term.Clean,
	"hang":       hang,
	"statusText": http.StatusText,
	"took":       func(ms float64) string { return story.Time(ms * float64(time.Millisecond)).String() },
}).Parse(storyText))

// Text prints the story for people, as wide as the terminal. The error is w's.
func (r *Report) Text(w io.Writer) error {
	trace := r.Instrumented.Trace
	var notes []string
	for _, note := range trace.Notes {
		notes = append(notes, note.String())
	}
	return page.Execute(w, struct {
		*Report
		Drawing          string
		Timeout          time.Duration
		Complete, Failed bool
		Notes            []string
		Calls            []Call
		SpanIn           func(ledger.Hop) string
		Asked            func(query string) bool
	}{r, draw(trace, term.Width(w), term.Colours(w)), traceTimeout, trace.Complete(), trace.Errors > 0, notes, []Call{r.Plain, r.Instrumented}, r.spanIn,
		func(query string) bool { return strings.Contains(r.Instrumented.URL, query) }})
}

// carried is the header that arrived at a hop; the first digits of its ids tell them apart.
func carried(h ledger.Hop) string {
	if len(h.Arrived) == 0 {
		return "no propagation header"
	}
	header := h.Arrived[0]
	return header.Name + " " + longID.ReplaceAllString(header.Value, "$1..")
}

var longID = regexp.MustCompile(`\b([0-9a-f]{8})[0-9a-f]{8,}\b`)

// hang wraps a text for 80 columns, indented by some of them.
func hang(indent int, text string) string {
	return strings.TrimSuffix(term.Hang(strings.Repeat(" ", indent), term.Clean(text), term.DefaultWidth), "\n")
}

// spanIn names the span whose id the header carries that arrived at a hop; empty if it carries none.
func (r *Report) spanIn(h ledger.Hop) string {
	if len(h.Arrived) == 0 || h.Arrived[0].SpanID == "" {
		return ""
	}
	header := h.Arrived[0]
	for _, t := range []*story.Trace{r.Instrumented.Trace, r.Plain.Trace} {
		if t == nil || t.ID != header.TraceID {
			continue
		}
		if s := t.Find(header.SpanID); s != nil {
			return s.Name + " of " + s.Service
		}
	}
	return "a span of " + header.Sender + ", which has not arrived"
}
