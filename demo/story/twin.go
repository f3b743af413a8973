package story

import (
	"fmt"
	"slices"
	"time"

	"example.com/grafana-tempo-go-demo/demo/topology"
)

// CompareWithin is how far apart two requests may be that are compared.
const CompareWithin = time.Minute

// Comparable says which service is the same program, instrumented, as one that tells nothing.
type Comparable struct {
	Twin  string  `json:"twin"`
	Query *string `json:"query"` // what the request asked for; nil if nobody knows
}

// comparison returns nil unless a plain service is the mystery, or the kernel alone tells of it.
func (t *Trace) comparison() *Comparable {
	var plain *topology.Service
	switch asked := serviceNamed(t.AskedFor()); {
	case t.Dark != nil && t.Dark.plain():
		plain = t.Dark.service
	case asked != nil && !asked.Instrumented && slices.ContainsFunc(t.Spans, func(s *Span) bool { return s.Outside }):
		plain = asked
	default:
		return nil
	}
	c := &Comparable{Twin: plain.Twin}
	if query, known := t.Query(); known {
		c.Query = &query
	}
	return c
}

// Explains reports whether a trace is a whole one of the twin of a plain one's service, of the same
// minute and with the same query, method, path and status. Who sent its inner spans is known by
// their place: a name may be missing.
func (t *Trace) Explains(plain *Trace) bool {
	orphan := slices.ContainsFunc(t.Spans, func(s *Span) bool { return s.Orphan })
	if plain.Plain == nil || plain.Plain.Query == nil || !IsRelay(t.root.Service) || t.Dark != nil || orphan {
		return false
	}
	query, known := t.Query()
	same := func(key string) bool { return t.entry.text(key) == plain.entry.text(key) }
	return known && query == *plain.Plain.Query && t.Status == plain.Status && t.AskedFor() == plain.Plain.Twin &&
		same("http.request.method") && same("url.path") && plain.apartFrom(t) <= CompareWithin
}

func (t *Trace) apartFrom(other *Trace) time.Duration { return other.StartedAt.Sub(t.StartedAt).Abs() }

// Twin is what stands beside a trace that tells nothing of what happened inside.
type Twin struct {
	Title string `json:"title"`
	Text  string `json:"text"`
	// Trace is a trace of the instrumented twin; nil if there is none to compare, and Call names whom
	// to call for one.
	Trace *Trace `json:"trace"`
	Call  string `json:"call,omitempty"`
	// Scale is the longer of the two durations, for one time axis.
	Scale Time `json:"scale"`
}

// Beside compares a plain trace with one that Explains it, or says of nil that there is none.
func (t *Trace) Beside(other *Trace) Twin {
	name := t.Plain.Twin
	if other == nil {
		why := "A trace of it within a minute of this one, complete, with the same query and status, is drawn here. None was found."
		if t.Plain.Query == nil {
			why = "The gateway hides the query of this request, so no trace can be compared with it."
		}
		return Twin{Title: "Compare with " + name, Call: name, Scale: t.Duration,
			Text: fmt.Sprintf("%s is the same program, instrumented. %s Call it now to see what happens inside.", name, why)}
	}
	return Twin{Title: "A request like it, instrumented: " + name, Trace: other, Scale: max(t.Duration, other.Duration),
		Text: fmt.Sprintf("They began %s apart, both answered %s, and are drawn on one time scale.",
			Time(t.apartFrom(other)), t.Status)}
}

// With puts another trace beside one, whatever they are.
func (t *Trace) With(other *Trace) Twin {
	began, took := Time(other.StartedAt.Sub(t.StartedAt)), other.Duration-t.Duration
	than := func(d Time, more, less, same string) string {
		switch {
		case d > 0:
			return d.String() + " " + more
		case d < 0:
			return (-d).String() + " " + less
		}
		return same
	}
	return Twin{Title: "Compared with " + other.Title + ": " + other.Subtitle, Trace: other, Scale: max(t.Duration, other.Duration),
		Text: fmt.Sprintf("It began %s this one, and took %s. Both are drawn on one time scale.",
			than(began, "after", "before", "with"), than(took, "longer", "less", "as long"))}
}
