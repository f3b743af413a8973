package story

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// Listed is a trace in a list of many. Its JSON is drawn by the explorer's page.
type Listed struct {
	ID    string `json:"id"`
	Title string `json:"title"` // whom the request asked, or else who began the trace
	Root  string `json:"root"`  // its first span, and what was asked for
	// StartedAt tells traces of the same millisecond apart, too.
	StartedAt time.Time `json:"started_at"`
	// Duration is in whole milliseconds, as searches have it.
	DurationMS int64           `json:"duration_ms"`
	Duration   string          `json:"duration"`
	Services   []ListedService `json:"services"` // by name, one that sent no spans last; none if the store does not say
	Spans      int             `json:"spans"`    // 0 if the store does not say
	Errors     int             `json:"errors"`   // how many spans failed
	// Before reports whether the trace is older than the fault that is looked for.
	Before bool `json:"before,omitempty"`
}

// ListedService is a service in a listed trace.
type ListedService struct {
	Name  string `json:"name"`
	Spans int    `json:"spans"`
	// Dark reports whether the request was for the service, and no span of it is here.
	Dark bool `json:"dark,omitempty"`
}

// Wish is what a request asked for, as far as somebody says.
type Wish struct {
	Service string // of the demo, or empty
	Target  string // path and query, such as "/?slow=redis"
}

// NewWish reads the host name, the path and the query of a request.
func NewWish(host, path, query string) Wish {
	w := Wish{Service: topology.ServiceOf(host), Target: path}
	if topology.Host(w.Service) != topology.HostName(host) || serviceNamed(w.Service) == nil {
		w.Service = ""
	}
	if path != "" && query != "" {
		w.Target += "?" + query
	}
	return w
}

// List tells of a trace what can be told without reading it, with what its request asked for.
func List(t tempo.Summary, wish Wish) Listed {
	wish.Service = cmp.Or(whom(t), wish.Service)
	l := Listed{ID: t.ID, StartedAt: t.Start, DurationMS: t.Duration.Milliseconds(), Services: []ListedService{}}
	switch {
	case l.DurationMS < 1:
		l.Duration = "<1 ms"
	case l.DurationMS < 100:
		l.Duration = fmt.Sprintf("%d ms", l.DurationMS) // no more digits than are known
	default:
		l.Duration = Time(t.Duration).String()
	}
	for _, name := range slices.Sorted(maps.Keys(t.Services)) {
		n := t.Services[name]
		l.Services = append(l.Services, ListedService{Name: cmp.Or(name, unknownService), Spans: n.Spans})
		l.Spans += n.Spans
		l.Errors += n.Errors
	}
	first := cmp.Or(t.Service, unknownService)
	if !t.HasRoot && len(l.Services) > 0 {
		first = l.Services[0].Name
	}
	l.Title, l.Root = wish.titles(first, t.Name, t.HasRoot)
	if absent(t, wish.Service) {
		l.Services = append(l.Services, ListedService{Name: wish.Service, Dark: true})
	}
	return l
}

// titles are whom a request asked, or else who began the trace, and its first span with what was asked for.
func (w Wish) titles(first, name string, hasRoot bool) (title, root string) {
	title, root = cmp.Or(w.Service, first), cmp.Or(name, noName)
	method := root == strings.ToUpper(root)
	switch {
	case !hasRoot:
		root = "Its first span has not arrived"
	case w.Target != "" && !strings.Contains(name, "/") && (method || w.Target != "/"):
		root += " " + w.Target
	case first != title:
		root = first + " · " + root
	}
	return title, root
}

// absent reports whether a trace has no span of the demo's service that was asked for. Spans by a name
// that the demo does not know may be its own, under another name.
func absent(t tempo.Summary, asked string) bool {
	for name := range t.Services {
		if name == asked || !IsRelay(name) && serviceNamed(name) == nil {
			return false
		}
	}
	return t.Services != nil && serviceNamed(asked) != nil
}

// whom is whom a request was for, as far as a summary tells: who the trace begins with, unless that
// is a relay, or else the service of the demo that no other one calls. Empty if it does not tell.
func whom(t tempo.Summary) string {
	if t.HasRoot && !IsRelay(t.Service) {
		return cmp.Or(t.Service, unknownService)
	}
	upstreams := slices.Collect(maps.Values(topology.Upstreams()))
	for _, s := range topology.Services() {
		if _, sent := t.Services[s.Name]; sent && !slices.Contains(upstreams, s.Name) {
			return s.Name
		}
	}
	return ""
}
