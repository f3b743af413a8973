package tempo

import (
	"cmp"
	"slices"
	"time"
)

// Trace is one trace as far as it is known: one span at least.
type Trace struct {
	ID    string  // 32 lower-case hexadecimal digits
	Spans []*Span // by start, but parents before their children
}

// Span is one span with its place in the trace. Its JSON is that of `demo tour`, which adds times.
type Span struct {
	SpanID   string `json:"span_id"`   // 16 lower-case hexadecimal digits
	ParentID string `json:"parent_id"` // likewise, or empty

	Service       string    `json:"service"` // service.name of the resource
	Name          string    `json:"name"`
	Kind          string    `json:"kind"` // server, client, internal, producer, consumer or unspecified
	Start         time.Time `json:"-"`
	End           time.Time `json:"-"`
	Status        string    `json:"status"` // ok, error or unset
	StatusMessage string    `json:"status_message,omitempty"`

	// Values are string, bool, int64, float64, []byte, []any or map[string]any; nil if not set.
	Attributes map[string]any `json:"attributes,omitempty"`
	Resource   map[string]any `json:"-"`
	Events     []Event        `json:"-"` // in the order of the back end
	Children   []*Span        `json:"-"` // by start
}

// Event is a moment within a span.
type Event struct {
	Name       string         `json:"name"`
	Time       time.Time      `json:"-"`
	Attributes map[string]any `json:"attributes,omitempty"` // as of Span
}

// OutsideDistro is telemetry.distro.name of what Outside reports.
const OutsideDistro = "opentelemetry-ebpf-instrumentation"

// Outside reports whether the kernel saw the span from outside (eBPF): its service says nothing of
// what it did meanwhile.
func (s *Span) Outside() bool { return s.Resource["telemetry.distro.name"] == OutsideDistro }

// Roots returns the spans whose parent is not in the trace, or not yet, by start.
func (t *Trace) Roots() []*Span {
	children := map[*Span]bool{}
	for _, s := range t.Spans {
		for _, c := range s.Children {
			children[c] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(t.Spans), func(s *Span) bool { return children[s] })
}

// Bounds returns the earliest start and the latest end.
func (t *Trace) Bounds() (start, end time.Time) {
	first := slices.MinFunc(t.Spans, func(a, b *Span) int { return a.Start.Compare(b.Start) })
	last := slices.MaxFunc(t.Spans, func(a, b *Span) int { return a.End.Compare(b.End) })
	return first.Start, last.End
}

// Complete reports whether all of a trace has arrived: it has a root, every span's parent, and for
// every HTTP client that got an answer the span of the server that gave it. That is enough: a
// process sends its spans as they end, so those inside a server's came before it. A trace that
// calls a service without instrumentation is never complete.
func (t *Trace) Complete() bool {
	known, served := map[string]bool{}, map[string]bool{}
	for _, s := range t.Spans {
		known[s.SpanID] = true
		if s.Kind == "server" {
			served[s.ParentID] = true
		}
	}
	root := false
	for _, s := range t.Spans {
		if s.ParentID == "" {
			root = true
		} else if !known[s.ParentID] {
			return false
		}
		_, asked := s.Attributes["http.request.method"]
		_, answered := s.Attributes["http.response.status_code"]
		if s.Kind == "client" && asked && answered && !served[s.SpanID] {
			return false
		}
	}
	return root
}

// ErrorOrigin returns the span in which an error began: the first to end of those that failed and
// have no failed span below them. Nil when none failed.
func (t *Trace) ErrorOrigin() (origin *Span) {
	failed := func(s *Span) bool { return s.Status == "error" }
	for _, s := range t.Spans {
		if failed(s) && !slices.ContainsFunc(s.Children, failed) && (origin == nil || s.End.Before(origin.End)) {
			origin = s
		}
	}
	return origin
}

// newTrace links spans to a tree and puts them in order. Where spans are their own ancestors, the
// link that would close the circle is left out.
func newTrace(id string, spans []*Span) *Trace {
	slices.SortStableFunc(spans, func(a, b *Span) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.SpanID, b.SpanID))
	})
	byID := make(map[string]*Span, len(spans))
	for _, s := range spans {
		if byID[s.SpanID] == nil {
			byID[s.SpanID] = s
		}
	}
	t := &Trace{ID: id, Spans: make([]*Span, 0, len(spans))}
	placed := make(map[*Span]bool, len(spans))
	for _, s := range spans {
		// Clocks differ, so a child may start before its parent: place its ancestors first.
		var line []*Span
		onLine := map[*Span]bool{}
		for p := s; p != nil && !placed[p] && !onLine[p]; p = byID[p.ParentID] {
			line = append(line, p)
			onLine[p] = true
		}
		for _, p := range slices.Backward(line) {
			if parent := byID[p.ParentID]; parent != nil && placed[parent] {
				parent.Children = append(parent.Children, p)
			}
			placed[p] = true
			t.Spans = append(t.Spans, p)
		}
	}
	for _, s := range t.Spans {
		slices.SortStableFunc(s.Children, func(a, b *Span) int { return a.Start.Compare(b.Start) })
	}
	return t
}
