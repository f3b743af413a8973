// Package story says what a trace says: who called whom, where the time went, where an error began.
// Page, terminal and doctor draw what it returns, and decide nothing themselves.
package story

import "strings"

// Segment is a piece of a sentence. A piece that names a span or a trace has its id, for who can
// make a link of it.
type Segment struct {
	Text  string `json:"text"`
	Span  string `json:"span,omitempty"`  // 16 lower-case hexadecimal digits
	Trace string `json:"trace,omitempty"` // 32 lower-case hexadecimal digits; the trace at hand if empty
}

// Sentence is text in pieces.
type Sentence []Segment

// String returns the text alone.
func (s Sentence) String() string {
	var b strings.Builder
	for _, piece := range s {
		b.WriteString(piece.Text)
	}
	return b.String()
}
