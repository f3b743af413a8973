package story

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"example.com/grafana-tempo-go-demo/demo/header"
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

// plainText is a sentence without links.
func plainText(format string, args ...any) Segment {
	return Segment{Text: fmt.Sprintf(format, args...)}
}

// link names a span of this trace.
func (t *Trace) link(s *Span) Segment { return Segment{Text: s.label(), Span: s.SpanID, Trace: t.ID} }

// maxMessage is how much of an error's message a note has, in characters.
const maxMessage = 200

// notes say in a sentence or two what the picture of a trace shows.
func (t *Trace) notes() (notes []Note) {
	add := func(kind, icon, title string, text ...Segment) { notes = append(notes, Note{kind, icon, title, text}) }
	dark := t.Dark
	if t.tempo.Partial != "" {
		add("warn", "error", "", plainText("%s", t.tempo.Partial))
	}
	parts, elsewhere := t.parts(), ""
	if dark != nil && dark.call != nil {
		elsewhere = cmp.Or(dark.elsewhere, t.traceOf(dark.Name)) // the part that the mystery leads to
		if len(parts) > 0 && dark.elsewhere != "" && !slices.Contains(parts, elsewhere) {
			parts = append(parts, elsewhere) // the ledger could not tie it
		}
	}
	if dark != nil && (dark.call != nil || dark.Time > t.Duration/20) {
		notes = append(notes, t.mystery(elsewhere, parts))
	}
	var others Sentence
	for _, id := range parts {
		if id != t.ID && id != elsewhere {
			others = append(others, partLink(id, parts))
		}
	}
	if len(others) > 0 {
		text := plainText("At each cut, a service received no propagation header that it could read, and started a trace of its own. ")
		add("bad", "error", fmt.Sprintf("This is one part of a request that was cut in %s.", inWords(len(parts))),
			append(Sentence{text}, others...)...)
	}
	if i := slices.IndexFunc(t.Spans, func(s *Span) bool { return s.Circle }); i >= 0 {
		add("warn", "error", "", t.link(t.Spans[i]), plainText(" is below itself: the parents of some spans here go round in a circle, so which came first is not known."))
	}
	outside := t.outside()
	if outside != "" {
		add("", "wait", "Seen from outside, "+outside+".", plainText("The kernel saw requests come and go (eBPF). What happened inside is "+
			"unexplained: whether Redis, a database or the service's own code took the time, only the service could say."))
	}
	switch {
	case t.Origin != nil:
		text := Sentence{plainText("The error began in "), t.link(t.Origin)}
		if message := []rune(t.Origin.StatusMessage); len(message) > 0 {
			text = append(text, plainText(": “%s”", string(message[:min(len(message), maxMessage)])))
		}
		add("bad", "error", "", append(text, plainText("."))...)
	case dark != nil && dark.call != nil && dark.call.Status == "error" && !dark.plain():
		add("bad", "error", "", t.link(dark.call), plainText(" failed. No span here says where the error began."))
	case outside == "":
		if most := t.most(); most != nil {
			kind, icon := "good", "ok"
			if len(notes) > 0 {
				kind, icon = "", "wait"
			}
			share := 100 * float64(most.Share) / float64(t.Duration)
			add(kind, icon, "", plainText("%.0f %% of the time went into ", share), t.link(most), plainText(": %s.", most.Share))
		}
	}
	return notes
}

// most is the one span into which most of the time went: nil if that is not much, or if there are
// several by its name.
func (t *Trace) most() *Span {
	if t.Busiest == nil || len(t.Spans) < 2 || t.Busiest.Share < t.Duration/10*3 {
		return nil
	}
	top := t.BySpan[slices.IndexFunc(t.BySpan, func(r Row) bool { return r.Service != "" })]
	if top.Spans > 1 || top.Service != t.Busiest.Service || top.Name != cmp.Or(t.Busiest.Name, noName) {
		return nil
	}
	return t.Busiest
}

// outside lists the services of which the kernel alone tells, with the time that they took.
func (t *Trace) outside() string {
	var list []string
	for _, row := range t.ByService {
		seen := slices.ContainsFunc(t.Services, func(s Service) bool { return s.Outside && s.Name == row.Service })
		if seen && row.Time != nil && *row.Time > t.Duration/100 {
			list = append(list, fmt.Sprintf("%s in %s", row.Time, row.Service))
		}
	}
	return strings.Join(list, " and ")
}

// mystery says what nothing here explains, and why.
func (t *Trace) mystery(elsewhere string, parts []string) Note {
	dark := t.Dark
	note := Note{Kind: "mystery", Title: fmt.Sprintf("No span of %s is here.", dark.Name)}
	if dark.Time > 0 {
		note.Title = fmt.Sprintf("%s unexplained, %s of the total.", dark.Time, Percent(dark.Time, t.Duration))
	}
	switch {
	case dark.call == nil:
		note.Text = append(Sentence{plainText("No span covers this time.")}, t.apart()...)
	case dark.plain():
		note.Text = Sentence{plainText("%s is not instrumented: it sends no spans and passes no propagation header on. The trace ends at ", dark.Name),
			t.link(dark.call), plainText(". %s", t.inside())}
	case elsewhere != "" && elsewhere != t.ID:
		note.Text = Sentence{plainText("%s answered from another trace: no propagation header that it could read reached it, "+
			"so it started its own. ", dark.Name), partLink(elsewhere, parts)}
	case dark.service != nil:
		note.Text = Sentence{plainText("%s is instrumented, yet no span of it is here. %s", dark.Name, t.reasons())}
	case dark.call.Answered():
		note.Text = Sentence{plainText("%s answered a call, and no span of it is here. %s", capital(dark.Name), t.reasons())}
	default:
		note.Text = Sentence{plainText("%s was called, and no span of it is here. %s", capital(dark.Name), t.reasons())}
	}
	return note
}

// capital begins a sentence with a phrase of ours; names stay as they are.
func capital(name string) string { return strings.Replace(name, "the other side", "The other side", 1) }

// apart names a span that does not lie in the call that it served, and why that may be.
func (t *Trace) apart() Sentence {
	for _, s := range t.Spans {
		if s.Kind != "server" || s.Parent < 0 {
			continue
		}
		call := t.Spans[s.Parent]
		if call.Kind == "client" && (s.Start < call.Start || s.Start > call.Interval.To) {
			return Sentence{plainText(" "), t.link(s), plainText(" lies outside "), t.link(call),
				plainText(", which called it: the clocks of the two disagree, or it began late.")}
		}
	}
	return nil
}

// reasons says why spans of whoever was called may be missing: what is known rules some of them out.
func (t *Trace) reasons() string {
	dark := t.Dark
	took := t.traceOf(dark.Name) == t.ID || slices.ContainsFunc(dark.call.Answers, func(a Answer) bool { return a.TraceID == t.ID })
	status, answered := t.status(), dark.call.Answered()
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
	service, failed := t.Dark.service, t.status() >= 500
	switch behind := service.Upstream; {
	case t.unlogged(service.Name):
		return "Nothing says whether the call reached it."
	case behind != "" && failed:
		return "Nobody outside can tell whether Redis, " + behind + " or its database failed, and which of them took the time."
	case behind != "":
		return "Nobody outside can tell whether Redis, " + behind + " or its database took the time."
	case failed:
		return "Nobody outside can tell what failed inside it, and what took the time."
	}
	return "Nobody outside can tell what took the time inside it."
}

// partLink leads to another trace of a request that was cut.
func partLink(id string, parts []string) Segment {
	switch len(parts) {
	case 0:
		return Segment{Text: "Open it", Trace: id}
	case 2:
		return Segment{Text: "Open the other half", Trace: id}
	}
	return Segment{Text: fmt.Sprintf("Open part %d of %d", slices.Index(parts, id)+1, len(parts)), Trace: id}
}

func inWords(n int) string {
	return cmp.Or(map[int]string{2: "two", 3: "three", 4: "four"}[n], fmt.Sprint(n))
}

// spanNotes say of one span what its times, its parent and its events do not show by themselves.
func (t *Trace) spanNotes(s *Span) (notes []Note) {
	if s.Status == "error" && s.StatusMessage != "" {
		notes = append(notes, Note{"bad", "error", "", Sentence{plainText("%s", s.StatusMessage)}})
	} else if s.StatusMessage != "" {
		notes = append(notes, Note{Text: Sentence{plainText("%s", s.StatusMessage)}})
	}
	if s.End.Before(s.Span.Start) {
		notes = append(notes, Note{"warn", "error", "", Sentence{
			plainText("This span ends before it starts: the clock was set back, or the times are wrong.")}})
	}
	if s.Circle {
		notes = append(notes, Note{"warn", "error", "", Sentence{
			plainText("The span that it names as its parent is below it: the parents go round in a circle.")}})
	}
	for _, a := range s.Answers {
		text := Sentence{plainText("%s carries the span id of ", header.TraceResponse)}
		switch found := t.Find(a.SpanID); {
		case a.TraceID != t.ID:
			text = append(text, Segment{Text: "a span in another trace", Span: a.SpanID, Trace: a.TraceID})
		case found == nil:
			text = append(text, plainText("a span that is not in the trace store"))
		default:
			text = append(text, t.link(found))
		}
		notes = append(notes, Note{Text: append(text, plainText("."))})
	}
	return notes
}
