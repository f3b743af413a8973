package story

import (
	"slices"

	"example.com/grafana-tempo-go-demo/demo/header"
	"example.com/grafana-tempo-go-demo/demo/ledger"
)

// Request is a request of the hop ledger beside a trace. Its JSON is drawn by the explorer's page.
type Request struct {
	Kind     string `json:"kind"` // good, warn, bad or empty
	Headline string `json:"headline"`
	Hops     []Hop  `json:"hops"`
}

// Hop is one step of a request.
type Hop struct {
	From   string        `json:"from"`
	To     string        `json:"to"`
	Action ledger.Action `json:"action"`
	Status int           `json:"status,omitempty"`
	Says   Sentence      `json:"says"`
	// Left is what From sent, and Arrived what To received; nil if nobody recorded it.
	Left    []Header `json:"left"`
	Arrived []Header `json:"arrived"`
	// Unchanged reports whether both are known, and are the same.
	Unchanged bool `json:"unchanged,omitempty"`
	// Back is the traceresponse of the answer, and BackOf the span that it names, if that is here.
	Back   *Header  `json:"back"`
	BackOf *Segment `json:"back_of"`
}

// Header is a header in pieces.
type Header struct {
	Name    string        `json:"name"`
	Parts   []header.Part `json:"parts"`
	Facts   string        `json:"facts"`             // what its flags say
	Problem string        `json:"problem,omitempty"` // why it is no context
	Another string        `json:"another,omitempty"` // the trace that it names, if it is not the one at hand
	Note    string        `json:"note,omitempty"`    // where it is from, if not from the records
}

// Hops tells of requests to a reader of one of their traces, of which t has what is here; t is nil if
// no span is. Nil stays nil.
func Hops(requests []ledger.Request, id string, t *Trace) (told []Request) {
	b := beside{id: id, spans: map[string]*Span{}, answers: map[string]Answer{}}
	if t != nil {
		for _, s := range t.Spans {
			b.spans[s.SpanID] = s
			for _, a := range s.Answers {
				b.answers[a.TraceID+a.SpanID] = a
			}
		}
	}
	if requests != nil {
		told = []Request{}
	}
	for _, r := range requests {
		one := Request{Headline: b.headline(r, t), Hops: []Hop{}}
		switch {
		case r.Outcome == ledger.Cut:
			one.Kind = "bad"
		case r.Outcome == ledger.Whole && !r.Unsampled:
			one.Kind = "good"
		case r.Outcome != ledger.Unknown:
			one.Kind = "warn"
		}
		for _, h := range r.Hops {
			one.Hops = append(one.Hops, b.hop(h))
		}
		told = append(told, one)
	}
	return told
}

// headline is the summary of a request. The kernel may have gone on in a trace that a service dropped.
func (b beside) headline(r ledger.Request, t *Trace) string {
	for _, h := range r.Hops {
		if t != nil && h.Action == ledger.Dropped &&
			slices.ContainsFunc(t.Services, func(s Service) bool { return s.Name == h.To && s.Outside }) {
			return r.Summary + " The kernel, which watches " + h.To + " from outside (eBPF), went on in it."
		}
	}
	return r.Summary
}

// beside is what is known of the trace at hand.
type beside struct {
	id      string
	spans   map[string]*Span
	answers map[string]Answer // by what they name
}

// span names a span of the trace at hand; nil if it is not here.
func (b beside) span(h header.Header) *Segment {
	s := b.spans[h.SpanID]
	if s == nil || h.TraceID != b.id {
		return nil
	}
	return &Segment{Text: s.Name + " of " + s.Service, Span: s.SpanID, Trace: b.id}
}

func (b beside) hop(h ledger.Hop) Hop {
	told := Hop{
		From: h.From, To: h.To, Action: h.Action, Status: h.Status, Left: b.side(h.Left), Arrived: b.side(h.Arrived),
	}
	told.Unchanged = h.Left != nil && h.Arrived != nil &&
		slices.EqualFunc(h.Left, h.Arrived, func(a, b header.Header) bool { return a.Name == b.Name && a.Value == b.Value })
	headers := h.Arrived
	if headers == nil {
		headers = h.Left
	}
	// A sender that the records do not know has its own span's id in the header that arrived.
	for _, x := range headers {
		if known := b.span(x); known != nil && (h.From == ledger.Client || h.From == ledger.Somebody) {
			told.From = b.spans[x.SpanID].Service
		}
	}
	for i, x := range headers {
		same := func(y header.Header) bool { return x.SpanID != "" && y.TraceID == x.TraceID && y.SpanID == x.SpanID }
		if x.SpanID == "" || slices.ContainsFunc(headers[:i], same) {
			continue
		}
		text := x.Name + " carries "
		for _, y := range headers[i+1:] {
			if same(y) {
				text = x.Name + " and " + y.Name + " carry "
			}
		}
		told.Says = append(append(told.Says, Segment{Text: text}), b.whose(h.From, x)...)
	}
	told.Says = append(told.Says, Segment{Text: h.Says})
	back := h.TraceResponse
	note := ""
	if a, ok := b.answers[h.TraceID+h.SpanID]; ok && back == nil {
		back, note = new(header.Decode(header.TraceResponse, a.Value)), `from the event "`+a.Event+`"`
	}
	if back != nil {
		told.Back, told.BackOf = new(b.header(*back)), b.span(*back)
		told.Back.Note = note
	}
	return told
}

// whose says whose span's id a header carries that somebody sent.
func (b beside) whose(from string, x header.Header) (says Sentence) {
	one, passed := "the id of a span", ". "
	if x.Sender != "" {
		one += " of " + ledger.Named(x.Sender)
		if x.Sender != from {
			passed = ", passed on by " + ledger.Named(from) + ". "
		}
	}
	switch known := b.span(x); {
	case known != nil:
		return Sentence{{Text: "the span id of "}, *known, {Text: passed}}
	case x.Unsampled():
		return Sentence{{Text: one + " that was not recorded" + passed}}
	case x.TraceID != b.id:
		return Sentence{{Text: one + ", in "}, {Text: "another trace", Span: x.SpanID, Trace: x.TraceID}, {Text: passed}}
	}
	return Sentence{{Text: one + " that is not in the trace store" + passed}}
}

func (b beside) side(headers []header.Header) []Header {
	if headers == nil {
		return nil
	}
	told := []Header{}
	for _, x := range headers {
		told = append(told, b.header(x))
	}
	return told
}

func (b beside) header(x header.Header) Header {
	told := Header{Name: x.Name, Parts: x.Parts()}
	if x.Problem != "" {
		told.Problem = "Not valid: " + x.Problem
	}
	if x.Sampled != nil {
		told.Facts = "Flags " + x.Flags + ", sampled"
		if x.Unsampled() {
			told.Facts = "Flags " + x.Flags + ", not sampled"
		}
	}
	if x.TraceID != "" && x.TraceID != b.id {
		told.Another = x.TraceID
	}
	return told
}
