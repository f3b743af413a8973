// Package explorer serves the plain page on which the run without Docker shows its traces: a list, and each trace as a
// waterfall of text. It speaks Tempo's HTTP API only, so it shows a real Tempo's traces as well.
package explorer

import (
	"bytes"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/demo/waterfall"
)

// listed is how many traces the list shows.
const listed = 50

// Options say whose traces to show.
type Options struct {
	Tempo *tempo.Client
	// Gateway is the proxy's URL and Hosts are the host names that it routes, for links.
	Gateway string
	Hosts   []string
	Logger  *slog.Logger // nil discards
}

// New returns the pages: / and /trace/<id>.
func New(o Options) http.Handler {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	e := &explorer{Options: o}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", e.list)
	mux.HandleFunc("GET /trace/{id}", e.trace)
	mux.HandleFunc("GET /style.css", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/css; charset=utf-8")
		_, _ = w.Write([]byte(style))
	})
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) {
		e.write(w, http.StatusNotFound, page{Title: "No such page", Text: "There is the list of traces, and a page for each."})
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		mux.ServeHTTP(w, r)
	})
}

type explorer struct{ Options }

type page struct {
	Title   string
	Refresh int // seconds; 0 means never
	Text    string
	Pre     string
	Links   []string
	Traces  []entry
	Home    bool
}

type entry struct{ ID, Name, Service, Started, Duration string }

func (e *explorer) list(w http.ResponseWriter, r *http.Request) {
	p := page{Title: "Traces", Refresh: 3, Home: true, Links: e.links()}
	found, err := e.Tempo.Search(r.Context(), tempo.Query{Limit: listed})
	if err != nil {
		e.Logger.Warn("list of traces", "error", err.Error())
		p.Text = "The trace store does not answer just now; this page keeps asking."
		e.write(w, http.StatusBadGateway, p)
		return
	}
	for _, t := range found {
		p.Traces = append(p.Traces, entry{
			ID:       t.TraceID,
			Name:     waterfall.Clean(t.RootName),
			Service:  waterfall.Clean(t.RootService),
			Started:  t.Start.Local().Format("15:04:05.000"),
			Duration: waterfall.Duration(t.Duration),
		})
	}
	if len(p.Traces) == 0 {
		p.Text = "No traces yet. Make one: open one of the addresses above."
	}
	e.write(w, http.StatusOK, p)
}

func (e *explorer) trace(w http.ResponseWriter, r *http.Request) {
	id := strings.ToLower(r.PathValue("id"))
	if id == "" || len(id) > 32 || strings.Trim(id, "0123456789abcdef") != "" {
		e.write(w, http.StatusNotFound, page{Title: "Not a trace id", Text: "A trace id has up to 32 hexadecimal digits."})
		return
	}
	id = strings.Repeat("0", 32-len(id)) + id // search results may lack leading zeros
	t, err := e.Tempo.Trace(r.Context(), id)
	switch {
	case errors.Is(err, tempo.ErrNotFound):
		e.write(w, http.StatusNotFound, page{Title: "Trace " + id, Refresh: 2,
			Text: "This trace is not here: it has not arrived yet, was not sampled, or is older than what is kept. This page keeps asking."})
		return
	case err != nil:
		e.Logger.Warn("trace", "trace_id", id, "error", err.Error())
		e.write(w, http.StatusBadGateway, page{Title: "Trace " + id, Refresh: 3,
			Text: "The trace store does not answer just now; this page keeps asking."})
		return
	}
	var drawing bytes.Buffer
	if err := waterfall.Render(&drawing, t, waterfall.Options{Width: 120}); err != nil {
		e.Logger.Warn("waterfall", "trace_id", id, "error", err.Error())
	}
	e.write(w, http.StatusOK, page{Title: "Trace " + id, Refresh: 5, Pre: drawing.String()})
}

// links are the addresses of the services through the gateway.
func (e *explorer) links() []string {
	port := ""
	if g, err := url.Parse(e.Gateway); err == nil && g.Port() != "" && g.Port() != "80" {
		port = ":" + g.Port()
	}
	var links []string
	for _, host := range e.Hosts {
		links = append(links, "http://"+host+port+"/")
	}
	return links
}

func (e *explorer) write(w http.ResponseWriter, status int, p page) {
	var body bytes.Buffer
	if err := pageTemplate.Execute(&body, struct {
		page
		Now string
	}{p, time.Now().Format("15:04:05")}); err != nil {
		e.Logger.Error("page", "error", err.Error())
		http.Error(w, p.Title, http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = body.WriteTo(w)
}

const style = `:root { color-scheme: light dark; font-family: system-ui, sans-serif }
body { margin: 2rem auto; max-width: 70rem; padding: 0 1rem }
pre { overflow-x: auto; line-height: 1.25 }
table { border-collapse: collapse } th, td { text-align: left; padding: 0.2rem 1.5rem 0.2rem 0 }
td:last-child { text-align: right; font-variant-numeric: tabular-nums }
`

var pageTemplate = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{{with .Refresh}}<meta http-equiv="refresh" content="{{.}}">
{{end}}<link rel="icon" href="data:,">
<link rel="stylesheet" href="/style.css">
<title>{{.Title}}</title>
</head>
<body>
<main>
<h1>{{.Title}}</h1>
{{with .Links}}<ul>
{{range .}}<li><a href="{{.}}">{{.}}</a></li>
{{end}}</ul>
{{end}}{{with .Text}}<p>{{.}}</p>
{{end}}{{with .Traces}}<table>
<thead><tr><th>started</th><th>trace</th><th>root span</th><th>service</th><th>duration</th></tr></thead>
<tbody>
{{range .}}<tr><td>{{.Started}}</td><td><a href="/trace/{{.ID}}"><code>{{.ID}}</code></a></td><td>{{.Name}}</td><td>{{.Service}}</td><td>{{.Duration}}</td></tr>
{{end}}</tbody>
</table>
{{end}}{{with .Pre}}<pre>{{.}}</pre>
{{end}}<p>{{if not .Home}}<a href="/">all traces</a>, {{end}}as of {{.Now}}</p>
</main>
</body>
</html>
`))
