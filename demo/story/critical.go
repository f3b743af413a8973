package story

import (
	"cmp"
	"slices"
)

// walk finds the critical path, backwards from the end of the answer: at each moment the span that was
// waited for. Of a span's children it is the one that ended last, then the one that had ended last when
// that one began, and so on; for what lies between, the span is on the path itself.
func (t *Trace) walk() {
	type leg struct {
		s  *Span
		in Interval // of it that is waited for
	}
	legs := []leg{{t.root, t.root.Interval}}
	for len(legs) > 0 { // a chain of thousands of spans is no reason to recurse
		s, in := legs[len(legs)-1].s, legs[len(legs)-1].in
		legs = legs[:len(legs)-1]
		var awaited []leg
		for _, c := range t.below(s) {
			part := s.awaits(c)
			if part = (Interval{max(part.From, in.From), min(part.To, in.To)}); part.From < part.To {
				awaited = append(awaited, leg{c, part})
			}
		}
		slices.SortStableFunc(awaited, func(a, b leg) int {
			return cmp.Or(cmp.Compare(b.in.To, a.in.To), cmp.Compare(a.in.From, b.in.From))
		})
		at := in.To
		for _, l := range awaited {
			if l.in.To > at {
				continue // another one was waited for then
			}
			if l.in.To < at {
				s.Critical = append(s.Critical, Interval{l.in.To, at})
			}
			legs, at = append(legs, l), l.in.From
		}
		if at > in.From {
			s.Critical = append(s.Critical, Interval{in.From, at})
		}
		slices.Reverse(s.Critical)
	}
	if in := t.root.Interval; in.From < in.To && !slices.Contains(t.root.Critical, in) {
		t.Critical = t.say("The line under the bars is the critical path, found backwards from the end of %s: of spans side by side, "+
			"the one that ended last was waited for. Only what is faster there makes the answer faster.", t.root)
	}
}

// below are a span's children, and the spans without their parent that account found a place for in it.
func (t *Trace) below(s *Span) (spans []*Span) {
	for _, c := range s.Span.Children {
		spans = append(spans, t.of[c])
	}
	return append(spans, t.guests[s]...)
}

// awaits is the part of a child's time in which its parent may wait for it: what is outside the parent
// is not. Whoever is not answered to, and is still at work when the parent ends, was not waited for at all.
func (s *Span) awaits(c *Span) Interval {
	if c.Interval.To > s.Interval.To && c.Kind != "server" && s.Kind != "client" {
		return Interval{}
	}
	return Interval{max(c.Interval.From, s.Interval.From), min(c.Interval.To, s.Interval.To)}
}
