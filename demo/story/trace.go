package story

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/tempo"
)

const (
	// ExportTime is how long an exporter takes to send what it has, unless it is told to wait longer.
	ExportTime = 6 * time.Second
	// QuietTime is how long after its end a trace grows, if nothing seems to be missing.
	QuietTime = 2500 * time.Millisecond
	// GrowingTime is how long after its end a trace may grow.
	GrowingTime = 20 * time.Second
)

const (
	unknownService = "unknown service"
	noName         = "(no name)"
)

// Options are what else is known when a trace is explained.
type Options struct {
	// Requests are those of the ledger that had to do with the trace; none if nobody keeps one.
	Requests []ledger.Request
	// Now tells whether spans may still be on their way. At the zero time none are.
	Now time.Time
}

// Trace is a trace explained. Its JSON is drawn by the explorer's page.
type Trace struct {
	ID       string `json:"id"` // 32 lower-case hexadecimal digits
	Title    string `json:"title"`
	Subtitle string `json:"subtitle"`
	// Status is what the client was answered over HTTP, if a span says so.
	Status    string    `json:"status,omitempty"`
	StartedAt time.Time `json:"started_at"`
	Duration  Time      `json:"duration"`
	Errors    int       `json:"errors"`           // how many spans failed
	Failed    string    `json:"failed,omitempty"` // says that, and in how many errors began
	// Settled reports whether nothing more is expected to arrive.
	Settled bool `json:"settled"`

	Notes     []Note      `json:"notes"` // what it says in a sentence or two
	Spans     []*Span     `json:"spans"` // as in tempo.Trace
	Services  []Service   `json:"services"`
	Resources []Values    `json:"resources"` // Span.Resource is an index of it
	Dark      *Dark       `json:"dark"`      // nil if all is told
	ByService []Row       `json:"by_service"`
	BySpan    []Row       `json:"by_span"`
	Plain     *Comparable `json:"plain"` // nil unless an instrumented twin would tell more
	// Critical says how the critical path was found; empty if it is one span alone.
	Critical Sentence `json:"critical,omitempty"`

	// Origin is the span in which an error began; nil if there is none, or if no span here says so.
	Origin *Span `json:"-"`

	tempo       *tempo.Trace
	of          map[*tempo.Span]*Span
	root        *Span
	entry       *Span // knows what was asked for: the server span of whoever passes requests on, or the first
	requests    []ledger.Request
	late        bool // exporters have had their time
	unexplained []Interval
	guests      map[*Span][]*Span // spans without their parent, by where they probably belong
}

// Span is a span and what the trace says of it.
type Span struct {
	*tempo.Span
	Service  string `json:"service"` // never empty
	Index    int    `json:"-"`
	Depth    int    `json:"depth"`              // 0 for a root
	Parent   int    `json:"parent"`             // index; -1 for none
	Children int    `json:"children,omitempty"` // how many
	Below    int    `json:"below,omitempty"`    // how many spans are below it, on all levels
	Siblings int    `json:"siblings"`           // how many spans have its parent, itself among them
	Position int    `json:"position"`           // among them, from 1
	// Interval is when it was open; one that ends before it starts was open for no time.
	Interval Interval `json:"-"`
	Start    Time     `json:"start"`
	Duration Time     `json:"duration"`
	// Self are the pieces of time in which it waited for no child; none is known of a dark span.
	Self     []Interval `json:"self"`
	SelfTime Time       `json:"self_time"` // the sum of Self
	// Critical are the pieces in which the answer waited for this span and no other: the critical path.
	Critical []Interval `json:"critical,omitempty"`
	// Share is its part of the trace's duration: where spans were at work side by side, they share.
	Share Time `json:"-"`

	Orphan  bool `json:"orphan,omitempty"`  // its parent is not here
	Circle  bool `json:"circle,omitempty"`  // its parent is below itself
	Repeat  bool `json:"repeat,omitempty"`  // another span of its kind had its id before
	Dark    bool `json:"dark,omitempty"`    // an HTTP call of somebody of whom there is no span
	Outside bool `json:"outside,omitempty"` // the kernel saw it from outside
	Origin  bool `json:"origin,omitempty"`  // the error began in it

	Attributes Values  `json:"attributes,omitempty"`
	Resource   int     `json:"resource"` // index of Trace.Resources
	Events     []Event `json:"events,omitempty"`
	// Callee is the index of the span to whose service a header carried this span's id; 0 for none.
	Callee   int    `json:"callee,omitempty"`
	ByHeader bool   `json:"by_header,omitempty"` // the id of its parent came in a header
	Notes    []Note `json:"notes,omitempty"`

	Answers []Answer `json:"-"` // in the order of the events

	first *Span // whose id it repeats; nil for none
}

// Service is a service with its number of spans.
type Service struct {
	Name    string `json:"name"`
	Spans   int    `json:"spans"`
	Outside bool   `json:"outside,omitempty"` // a span of it was seen from outside
}

// Tell explains a trace.
func Tell(t *tempo.Trace, o Options) *Trace {
	start, end := t.Bounds()
	told := &Trace{
		ID: t.ID, StartedAt: start, Duration: Time(end.Sub(start)), tempo: t, of: make(map[*tempo.Span]*Span, len(t.Spans)),
		requests: o.Requests, late: o.Now.IsZero() || o.Now.Sub(end) > ExportTime,
	}
	told.place()
	told.account()
	told.find()
	told.walk()
	told.Dark = told.darkness()
	told.ByService = told.rows(func(s *Span) string { return s.Service })
	told.BySpan = told.rows(func(s *Span) string { return s.Service + "\n" + s.Name })
	told.Plain = told.comparison()
	told.describe()
	told.Notes = told.notes()
	age := o.Now.Sub(end)
	complete := !told.root.Orphan && !told.missing()
	told.Settled = o.Now.IsZero() || age > GrowingTime || complete && age > QuietTime
	return told
}

// place gives each span its place in the tree.
func (t *Trace) place() {
	t.Spans = make([]*Span, len(t.tempo.Spans))
	siblings := map[*tempo.Span]int{} // by their parent, those that are placed
	first := map[string]*Span{}       // by id and kind: a client's and a server's may share one
	for i, s := range t.tempo.Spans {
		from := Time(s.Start.Sub(t.StartedAt))
		placed := &Span{
			Span: s, Service: cmp.Or(s.Service, unknownService), Index: i, Parent: -1, Children: len(s.Children),
			Interval: Interval{from, max(from, Time(s.End.Sub(t.StartedAt)))}, Outside: s.Outside(),
			Orphan: s.ParentID != "" && s.Parent == nil && t.tempo.Span(s.ParentID) == nil,
			Circle: s.Parent == nil && t.tempo.Span(s.ParentID) != nil,
			Dark:   s.Kind == "client" && len(s.Children) == 0 && (s.Asked() || s.Answered()),
		}
		placed.Answers = readAnswers(s)
		placed.Start, placed.Duration = from, placed.Interval.To-from
		if above := t.of[s.Parent]; above != nil {
			placed.Parent, placed.Depth = above.Index, above.Depth+1
			placed.ByHeader = s.Kind == "server" && placed.Service != above.Service
			if placed.ByHeader && above.Callee == 0 {
				above.Callee = i
			}
		}
		if placed.first = first[s.SpanID+s.Kind]; placed.first == nil {
			first[s.SpanID+s.Kind] = placed
		}
		placed.Repeat = placed.first != nil
		siblings[s.Parent]++
		placed.Position = siblings[s.Parent]
		t.Spans[i], t.of[s] = placed, placed
	}
	for _, s := range slices.Backward(t.Spans) {
		s.Siblings = siblings[s.Span.Parent]
		if s.Parent >= 0 {
			t.Spans[s.Parent].Below += s.Below + 1
		}
	}
}

// find finds the spans that matter most.
func (t *Trace) find() {
	for _, s := range t.Spans {
		i := slices.IndexFunc(t.Services, func(known Service) bool { return known.Name == s.Service })
		if i < 0 {
			i = len(t.Services)
			t.Services = append(t.Services, Service{Name: s.Service})
		}
		t.Services[i].Spans++
		t.Services[i].Outside = t.Services[i].Outside || s.Outside
		if s.Depth == 0 && (t.root == nil || t.root.Orphan && !s.Orphan) {
			t.root = s
		}
		if t.entry == nil && s.Kind == "server" && IsRelay(s.Service) {
			t.entry = s
		}
		if s.Status == "error" {
			t.Errors++
		}
	}
	if began, all := origins(t.tempo); t.Errors > 0 {
		t.Failed = plural(t.Errors, "span") + " failed"
		if n := len(began); all && n > 0 && n < t.Errors {
			t.Failed = plural(n, "error") + ", " + t.Failed
		}
	}
	t.entry = cmp.Or(t.entry, t.root)
	if origin := ErrorOrigin(t.tempo); origin != nil {
		t.Origin = t.of[origin]
		t.Origin.Origin = true
	}
	t.Status = t.entry.text("http.response.status_code", "http.status_code")
	query, _ := t.Query()
	wish := NewWish("", t.entry.text("url.path"), query)
	wish.Service = t.AskedFor()
	t.Title, t.Subtitle = wish.titles(t.root.Service, t.root.Name, !t.root.Orphan)
}

// Find returns the span with this id, as tempo.Trace.Span does; nil if there is none.
func (t *Trace) Find(spanID string) *Span { return t.of[t.tempo.Span(spanID)] }

// ErrorOrigin returns the span in which an error began: the first to end of those that failed and
// have no failed span below them. A call that was answered by somebody of whom the trace has no span
// does not say where it began, and one that was refused is no error of its own. Nil if no span says so.
func ErrorOrigin(t *tempo.Trace) *tempo.Span {
	began, _ := origins(t)
	if len(began) == 0 {
		return nil
	}
	return slices.MinFunc(began, func(a, b *tempo.Span) int { return a.End.Compare(b.End) })
}

// origins are the spans in which errors began. All reports whether no other may have begun elsewhere.
func origins(t *tempo.Trace) (began []*tempo.Span, all bool) {
	failed := func(s *tempo.Span) bool { return s.Status == "error" }
	all = true
	for _, s := range t.Spans {
		switch {
		case !failed(s) || slices.ContainsFunc(s.Children, failed) || refused(s):
		case s.Kind == "client" && len(s.Children) == 0 && s.Answered():
			all = false
		default:
			began = append(began, s)
		}
	}
	return began, all
}

// refused reports whether a call is marked as failed only because its answer was 4xx: its caller is not.
// At 499 the caller hung up.
func refused(s *tempo.Span) bool {
	code := fmt.Sprint(cmp.Or(s.Attributes["http.response.status_code"], s.Attributes["http.status_code"]))
	return s.Kind == "client" && s.Status == "error" && (s.Parent == nil || s.Parent.Status != "error") &&
		len(code) == 3 && code[0] == '4' && code != "499"
}

// text is the first of some attributes that a span has, as text.
func (s *Span) text(keys ...string) string {
	for _, key := range keys {
		if v, ok := s.Span.Attributes[key]; ok {
			return newValue(key, v).Value
		}
	}
	return ""
}

func plural(n int, one string) string {
	if n != 1 {
		one += "s"
	}
	return fmt.Sprintf("%d %s", n, one)
}

// label names a span for a sentence.
func (s *Span) label() string { return cmp.Or(strings.TrimSpace(s.Name), noName) + " of " + s.Service }
