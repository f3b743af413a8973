package tempo

import (
	"cmp"
	"slices"
	"time"
)

// Trace is one trace as far as it is known: one span at least.
type Trace struct {
	ID    string  // 32 lower-case hexadecimal digits
	Spans []*Span // as a tree is read: a span, then all that is below it; siblings by start
	// Partial is what the store says if it sent only a part of the trace.
	Partial string

	byID map[string]*Span
}

// Span is one span with its place in the trace. Its JSON is a part of that of package story.
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
	Attributes map[string]any `json:"-"`
	Resource   map[string]any `json:"-"`
	Events     []Event        `json:"-"`               // in the order of the back end
	Scope      string         `json:"scope,omitempty"` // name and version of the library that made the span
	Links      int            `json:"links,omitempty"` // how many

	Parent   *Span   `json:"-"` // nil if it has none, or it is not here, or is below the span itself
	Children []*Span `json:"-"` // by start
}

// Event is a moment within a span.
type Event struct {
	Name       string
	Time       time.Time
	Attributes map[string]any // as of Span
}

// OutsideDistro is telemetry.distro.name of what Outside reports.
const OutsideDistro = "opentelemetry-ebpf-instrumentation"

// Outside reports whether the kernel saw the span from outside (eBPF): its service says nothing of
// what it did meanwhile.
func (s *Span) Outside() bool { return s.Resource["telemetry.distro.name"] == OutsideDistro }

// Asked reports whether a span is one of HTTP, by its method, under its present or its old name.
func (s *Span) Asked() bool { return s.Has("http.request.method", "http.method") }

// Answered reports whether an HTTP span has the status of an answer, as Asked does.
func (s *Span) Answered() bool { return s.Has("http.response.status_code", "http.status_code") }

// Has reports whether a span has one of these attributes.
func (s *Span) Has(keys ...string) bool {
	return slices.ContainsFunc(keys, func(key string) bool { _, ok := s.Attributes[key]; return ok })
}

// Span returns the span with this id, or nil. Of a client's and a server's that share one, as
// Zipkin's do, it is the server's, which is the parent of what follows.
func (t *Trace) Span(id string) *Span { return t.byID[id] }

// Bounds returns the earliest start and the latest end. A span that ends before it starts, ends as
// it starts.
func (t *Trace) Bounds() (start, end time.Time) {
	start, end = t.Spans[0].Start, t.Spans[0].Start
	for _, s := range t.Spans {
		if s.Start.Before(start) {
			start = s.Start
		}
		for _, at := range []time.Time{s.Start, s.End} {
			if at.After(end) {
				end = at
			}
		}
	}
	return start, end
}

// inOrder compares spans by start. Of two that start together, the longer one may hold the other.
func inOrder(a, b *Span) int {
	return cmp.Or(a.Start.Compare(b.Start), b.End.Compare(a.End), cmp.Compare(a.SpanID, b.SpanID))
}

// NewTrace links spans to a tree and puts them in order. Where parents go round in a circle, one of its
// spans gets none.
func NewTrace(id string, spans []*Span) *Trace {
	spans = slices.Clone(spans)
	slices.SortStableFunc(spans, inOrder)
	t := &Trace{ID: id, byID: make(map[string]*Span, len(spans)), Spans: make([]*Span, 0, len(spans))}
	clients := map[string]*Span{} // that share their id with a server's
	for _, s := range spans {
		switch known := t.byID[s.SpanID]; {
		case known == nil:
			t.byID[s.SpanID] = s
		case s.Kind == "server" && known.Kind == "client":
			t.byID[s.SpanID], clients[s.SpanID] = s, known
		case s.Kind == "client" && known.Kind == "server" && clients[s.SpanID] == nil:
			clients[s.SpanID] = s
		}
	}
	for _, s := range spans {
		s.Parent, s.Children = t.byID[s.ParentID], nil
		if client := clients[s.SpanID]; client != nil && s.Kind == "server" {
			s.Parent = client
		}
	}
	for _, s := range spans {
		if s.Parent != nil {
			s.Parent.Children = append(s.Parent.Children, s)
		}
	}
	placed := make(map[*Span]bool, len(spans))
	place := func(root *Span) {
		for stack := []*Span{root}; len(stack) > 0; { // a chain of thousands of spans is no reason to recurse
			s := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			t.Spans, placed[s] = append(t.Spans, s), true
			for _, c := range slices.Backward(s.Children) {
				stack = append(stack, c)
			}
		}
	}
	for _, s := range spans {
		if s.Parent == nil {
			place(s)
		}
	}
	for _, s := range spans {
		if placed[s] {
			continue
		}
		// It is in a circle, or below one.
		for met := map[*Span]bool{}; !met[s]; s = s.Parent {
			met[s] = true
		}
		s.Parent.Children = slices.DeleteFunc(s.Parent.Children, func(c *Span) bool { return c == s })
		s.Parent = nil
		place(s)
	}
	return t
}
