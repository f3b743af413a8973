package story

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"example.com/grafana-tempo-go-demo/demo/ledger"
)

// Note is something that a trace, or a span, says of itself.
type Note struct {
	Kind  string   `json:"kind"` // good, bad, warn, mystery, or empty for what is neither
	Icon  string   `json:"icon"` // ok, error, wait, or empty
	Title string   `json:"title,omitempty"`
	Text  Sentence `json:"text"`
}

// String returns title and text.
func (n Note) String() string { return strings.TrimSpace(n.Title + " " + n.Text.String()) }

// say makes a sentence of a text in which each %s stands for an argument: a span of the trace becomes
// a link to it, a sentence stays as it is, and anything else is text.
func (t *Trace) say(format string, args ...any) (says Sentence) {
	for i, text := range strings.Split(format, "%s") {
		if i > 0 {
			switch arg := args[i-1].(type) {
			case *Span:
				says = append(says, Segment{Text: arg.label(), Span: arg.SpanID, Trace: t.ID})
			case Sentence:
				says = append(says, arg...)
			default:
				text = fmt.Sprint(arg) + text
			}
		}
		if text != "" {
			says = append(says, Segment{Text: text})
		}
	}
	return says
}

const (
	cutText = "At each cut, a service received no propagation header that it could read, and started a trace of its own. %s"
	circle  = "%s is below itself: the parents of some spans here go round in a circle, so which came first is not known."
	kernel  = "The kernel saw requests come and go (eBPF). What happened inside is unexplained: whether Redis, a database or the " +
		"service's own code took the time, only the service could say."
)

// maxMessage is how much of an error's message a note has, in characters.
const maxMessage = 200

// notes say in a sentence or two what the picture of a trace shows.
func (t *Trace) notes() (notes []Note) {
	add := func(kind, icon, title, format string, args ...any) {
		notes = append(notes, Note{kind, icon, title, t.say(format, args...)})
	}
	dark := t.Dark
	if t.tempo.Partial != "" {
		add("warn", "error", "", "%s", t.tempo.Partial)
	}
	parts, elsewhere := t.parts(), ""
	if dark != nil && dark.call != nil {
		elsewhere = cmp.Or(dark.elsewhere, t.traceOf(dark.Name)) // the part that the mystery leads to
		if len(parts) > 0 && dark.elsewhere != "" && !slices.Contains(parts, elsewhere) {
			parts = append(parts, elsewhere) // the ledger does not know it
		}
	}
	if dark != nil && (dark.call != nil || dark.Time > t.Duration/20) {
		title := fmt.Sprintf("No span of %s is here.", dark.Name)
		if dark.Time > 0 {
			title = fmt.Sprintf("%s unexplained, %s of the total.", dark.Time, Percent(dark.Time, t.Duration))
		}
		add("mystery", "", title, "%s", t.mystery(elsewhere, parts))
	}
	var others Sentence
	for _, id := range parts {
		if id != t.ID && id != elsewhere {
			others = append(others, partLink(id, parts)...)
		}
	}
	if len(others) > 0 {
		number := cmp.Or(map[int]string{2: "two", 3: "three", 4: "four"}[len(parts)], fmt.Sprint(len(parts)))
		add("bad", "error", "This is one part of a request that was cut in "+number+".", cutText, others)
	}
	if i := slices.IndexFunc(t.Spans, func(s *Span) bool { return s.Circle }); i >= 0 {
		add("warn", "error", "", circle, t.Spans[i])
	}
	outside := t.outside()
	if outside != "" {
		add("", "wait", "Seen from outside, "+outside+".", kernel)
	}
	most, wrong := t.most(), slices.IndexFunc(t.Spans, func(s *Span) bool { return refused(s.Span) })
	switch {
	case t.Origin != nil && t.Origin.StatusMessage != "":
		message := []rune(t.Origin.StatusMessage)
		add("bad", "error", "", "The error began in %s: “%s”.", t.Origin, string(message[:min(len(message), maxMessage)]))
	case t.Origin != nil:
		add("bad", "error", "", "The error began in %s.", t.Origin)
	case wrong >= 0 && t.status()/100 == 4:
		add("warn", "error", "", "%s answered %s: the request was wrong. %s is marked as failed because of that.",
			t.Title, t.Status, t.Spans[wrong])
	case dark != nil && dark.call != nil && dark.call.Status == "error" && !dark.plain():
		add("bad", "error", "", "%s failed. No span here says where the error began.", dark.call)
	case outside == "" && most != nil:
		kind, icon := "good", "ok"
		if len(notes) > 0 {
			kind, icon = "", "wait"
		}
		share := fmt.Sprintf("%.0f", 100*float64(most.Share)/float64(t.Duration))
		add(kind, icon, "", "%s % of the time went into %s: %s.", share, most, most.Share)
	}
	return notes
}

// most is the one span into which most of the time went: nil if that is not much, or if there are
// several by its name.
func (t *Trace) most() *Span {
	top := t.BySpan[slices.IndexFunc(t.BySpan, func(r Row) bool { return r.span != nil })]
	if len(t.Spans) < 2 || top.Spans > 1 || top.Time == 0 || top.Time < t.Duration/10*3 {
		return nil
	}
	return top.span
}

// outside lists the services of which the kernel alone tells, with the time that they took.
func (t *Trace) outside() string {
	var list []string
	for _, row := range t.ByService {
		seen := slices.ContainsFunc(t.Services, func(s Service) bool { return s.Outside && s.Name == row.Service })
		if seen && row.Time > t.Duration/100 {
			list = append(list, fmt.Sprintf("%s in %s", row.Time, row.Service))
		}
	}
	return strings.Join(list, " and ")
}

// mystery says why there is time that nothing here explains, or a call that nothing here answers.
func (t *Trace) mystery(elsewhere string, parts []string) Sentence {
	dark := t.Dark
	switch {
	case dark.call == nil:
		return t.say("No span covers this time: clocks may disagree, or somebody waited.")
	case dark.plain():
		return t.say("%s is not instrumented: it sends no spans and passes no propagation header on. The trace ends at %s. %s",
			dark.Name, dark.call, t.inside())
	case elsewhere != "" && elsewhere != t.ID:
		return t.say("%s answered from another trace: no propagation header that it could read reached it, so it started its own. %s",
			dark.Name, partLink(elsewhere, parts))
	case dark.service != nil:
		return t.say("%s is instrumented, yet no span of it is here. %s", dark.Name, t.reasons())
	}
	what := "was called"
	if dark.call.Answered() {
		what = "answered a call"
	}
	return t.say("%s %s, and no span of it is here. %s", strings.Replace(dark.Name, "the other", "The other", 1), what, t.reasons())
}

// reasons says why spans of whoever was called may be missing: what is known rules some of them out.
func (t *Trace) reasons() string {
	dark, status, answered := t.Dark, t.status(), t.Dark.call.Answered()
	took := t.traceOf(dark.Name) == t.ID || slices.ContainsFunc(dark.call.Answers, func(a Answer) bool { return a.TraceID == t.ID })
	var list []string
	perhaps := func(possible bool, reason string) {
		if possible {
			list = append(list, reason)
		}
	}
	perhaps(!t.late, "its spans are still on their way")
	perhaps(!took && dark.service == nil, "it is not instrumented")
	perhaps(!answered, "the call did not reach it")
	perhaps(!answered, "it is still at work")
	perhaps(!took && IsRelay(dark.call.Service) && status >= 502 && status <= 504,
		fmt.Sprintf("the call did not reach it and %s answered %d itself", dark.call.Service, status))
	perhaps(!took, "it did not receive the propagation header and is in another trace")
	perhaps(unsampled(t.ID, t.requests), "it did not record them, because the header says that the trace is not sampled")
	perhaps(true, "its exporter does not reach the trace store")
	text := "Perhaps " + strings.Join(list, ", ") + ", or its process ended before it sent them."
	if took {
		return "It took part in this trace. " + text
	}
	return text
}

// inside says what cannot be known of a plain service from outside.
func (t *Trace) inside() string {
	service := t.Dark.service
	switch {
	case anyHop(t.requests, func(h ledger.Hop) bool { return h.To == service.Name && h.Action == ledger.NoAction }):
		return "Nothing says whether the call reached it."
	case service.Upstream != "":
		return "Nobody outside can tell whether Redis, " + service.Upstream + " or its database took the time, or failed."
	}
	return "Nobody outside can tell what happened inside it."
}

// partLink leads to another trace of a request that was cut.
func partLink(id string, parts []string) Sentence {
	text := fmt.Sprintf("Open part %d of %d", slices.Index(parts, id)+1, len(parts))
	switch len(parts) {
	case 0:
		text = "Open it"
	case 2:
		text = "Open the other half"
	}
	return Sentence{{Text: text, Trace: id}}
}

// spanNotes say of one span what its times, its parent and its events do not show by themselves.
func (t *Trace) spanNotes(s *Span) (notes []Note) {
	add := func(kind, icon, format string, args ...any) {
		notes = append(notes, Note{Kind: kind, Icon: icon, Text: t.say(format, args...)})
	}
	switch {
	case s.StatusMessage != "" && s.Status == "error":
		add("bad", "error", "%s", s.StatusMessage)
	case s.StatusMessage != "":
		add("", "", "%s", s.StatusMessage)
	}
	switch first := s.first; {
	case first == nil:
	case first.Name == s.Name && first.Service == s.Service && first.Interval == s.Interval:
		add("warn", "error", "This span is here twice: it was sent again.")
	default:
		add("warn", "error", "%s has the same id. Ids are unique, so what is below one of the two may belong to the other.", first.label())
	}
	if s.End.Before(s.Span.Start) {
		add("warn", "error", "This span ends before it starts: the clock was set back, or the times are wrong.")
	}
	return notes
}
