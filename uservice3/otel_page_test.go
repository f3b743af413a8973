package main

import (
	"testing"

	"go.opentelemetry.io/otel/trace"
)

func TestThePageNamesItsTrace(t *testing.T) {
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{15: 1}, SpanID: trace.SpanID{7: 1}, TraceFlags: trace.FlagsSampled})
	const id = "00000000000000000000000000000001"
	for name, test := range map[string]struct {
		pattern string
		span    trace.SpanContext
		want    string
	}{
		"with a link":       {pattern: `http://x/{trace_id}?q="{trace_id}"`, span: span, want: `<a href="http://x/` + id + `?q=&#34;` + id + `&#34;">` + id + `</a>`},
		"without a pattern": {span: span, want: id},
		"not sampled":       {pattern: "http://x/{trace_id}", span: span.WithTraceFlags(0), want: "not sampled"},
		"not traced":        {pattern: "http://x/{trace_id}", want: "not sampled"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := withTrace("Trace: {{trace}}!", test.pattern, test.span); got != "Trace: "+test.want+"!" {
				t.Errorf("got %s", got)
			}
		})
	}
}

func TestTraceLinksThatCannotWorkAreErrors(t *testing.T) {
	for pattern, good := range map[string]bool{
		"":                                    true,
		"http://localhost:3000/t/{trace_id}":  true,
		"https://localhost/?q=%22{trace_id}%": true,
		"http://localhost:3000/":              false,
		"javascript:alert('{trace_id}')":      false,
		"http://a b/{trace_id}":               false,
	} {
		if err := checkTraceLink(pattern); (err == nil) != good {
			t.Errorf("%q: %v", pattern, err)
		}
	}
}
