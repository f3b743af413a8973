package story

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"example.com/grafana-tempo-go-demo/demo/tempo"
)

func TestCriticalPath(t *testing.T) {
	root := func() *tempo.Span { return span(1, 0, "server", "a", "root", 0, 1000) }
	for _, tc := range []struct {
		name  string
		spans []*tempo.Span
		want  string // its pieces in order, in milliseconds
	}{
		{"one after the other", whole(), "redis_call 0-100, database_call 100-1000"},
		{"side by side, the one that ends last", one(root(), span(2, 1, "client", "a", "short", 100, 500), span(3, 1, "client", "a", "long", 100, 900)),
			"root 0-100, long 100-900, root 900-1000"},
		{"side by side, and what was done before", one(root(), span(2, 1, "internal", "a", "first", 100, 300), span(3, 1, "internal", "a", "beside it", 250, 500),
			span(4, 1, "internal", "a", "last", 400, 900)), "root 0-100, first 100-300, root 300-400, last 400-900, root 900-1000"},
		{"gaps belong to the parent", one(root(), span(2, 1, "internal", "a", "one", 200, 300), span(3, 1, "internal", "a", "two", 600, 700)),
			"root 0-200, one 200-300, root 300-600, two 600-700, root 700-1000"},
		{"work that goes on after the answer", one(root(), span(2, 1, "internal", "a", "mail", 100, 2000), span(3, 1, "internal", "a", "write", 100, 400)),
			"root 0-100, write 100-400, root 400-1000"},
		{"a consumer that nobody waits for", one(root(), span(2, 1, "producer", "a", "send", 100, 200), span(3, 2, "consumer", "b", "receive", 150, 900)),
			"root 0-100, send 100-200, root 200-1000"},
		{"a server that writes its log after the answer", one(span(1, 0, "client", "a", "call", 0, 1000), span(2, 1, "server", "b", "serve", 100, 1100),
			span(3, 2, "client", "b", "ask", 200, 1050)), "call 0-100, serve 100-200, ask 200-1000"},
		{"a clock that is behind", one(root(), span(2, 1, "server", "b", "serve", -200, 700)), "serve 0-700, root 700-1000"},
		{"a clock that is far ahead", one(root(), span(2, 1, "server", "b", "serve", 5000, 5200)), "root 0-1000"},
		{"the exporter in the middle is dead", join(proxied("uservice3", 200), one(span(6, 5, "server", "uservice4", "serve", 100, 900))),
			"ReverseProxy 0-100, serve 100-900, ReverseProxy 900-1000"},
		{"the first span is missing", one(span(2, 1, "server", "a", "serve", 0, 1000), span(3, 2, "internal", "a", "work", 100, 1000)), "serve 0-100, work 100-1000"},
		{"parents in a circle", one(span(1, 2, "internal", "a", "first", 0, 5), span(2, 1, "internal", "a", "second", 1, 4)), "first 0-1, second 1-4, first 4-5"},
		{"one of two with one id", one(root(), span(2, 1, "client", "a", "get", 100, 900), span(2, 1, "server", "b", "get", 200, 800), span(3, 2, "internal", "b", "work", 200, 800)),
			"root 0-100, get 100-200, work 200-800, get 800-900, root 900-1000"},
		{"no time at all", one(span(1, 0, "server", "a", "x", 0, 0)), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			type piece struct {
				Interval
				name string
			}
			var pieces []piece
			told := tell(tc.spans, nil, 0)
			begins := told.root.Interval.From
			for _, s := range told.Spans {
				for _, p := range s.Critical {
					pieces = append(pieces, piece{Interval{p.From - begins, p.To - begins}, s.Name})
				}
			}
			slices.SortFunc(pieces, func(a, b piece) int { return int(a.From - b.From) })
			var got []string
			var at Time
			for _, p := range pieces {
				if p.From != at {
					t.Errorf("%s begins at %s, after %s", p.name, p.From, at)
				}
				at = p.To
				got = append(got, fmt.Sprintf("%s %v-%v", p.name, p.From.MS(), p.To.MS()))
			}
			if got := strings.Join(got, ", "); got != tc.want || at != told.root.Duration {
				t.Errorf("got  %s, up to %s\nwant %s", got, at, tc.want)
			}
			if says := told.Critical.String(); (says == "") != (len(pieces) < 2) || says != "" && !strings.Contains(says, told.root.label()) {
				t.Errorf("how it was found: %q", says)
			}
		})
	}
}

// TestFailedSpansAreNoErrorsOfTheirOwn: an error that travels is one.
func TestFailedSpansAreNoErrorsOfTheirOwn(t *testing.T) {
	for _, tc := range []struct {
		spans []*tempo.Span
		want  string
	}{
		{whole(), ""},
		{join(proxied("uservice3", 502, failure("")), inside(failure("")), call(answered, failure("")), behind(failure("no disk"))), "1 error, 6 spans failed"},
		{one(span(1, 0, "server", "a", "x", 0, 9, failure("")), span(2, 1, "client", "a", "try", 0, 3, failure("")), span(3, 1, "client", "a", "again", 4, 9, failure(""))),
			"2 errors, 3 spans failed"},
		{join(proxied("uservice3", 502, failure("")), inside(failure("")), call(answered, failure(""))), "4 spans failed"}, // who answered knows
		{refusing("uservice3", 400), "1 span failed"},
		{one(span(1, 0, "server", "a", "x", 0, 9, failure(""))), "1 span failed"},
	} {
		if got := tell(tc.spans, nil, 0).Failed; got != tc.want {
			t.Errorf("got %q, want %q", got, tc.want)
		}
	}
}

func TestRepeatedIDs(t *testing.T) {
	for want, spans := range map[string][]*tempo.Span{
		"": one(span(1, 0, "client", "a", "get", 0, 9), span(1, 0, "server", "b", "get", 1, 8)),
		"This span is here twice: it was sent again.":                                                        one(span(1, 0, "client", "a", "get", 0, 9), span(1, 0, "client", "a", "get", 0, 9)),
		"get of a has the same id. Ids are unique, so what is below one of the two may belong to the other.": one(span(1, 0, "client", "a", "get", 0, 9), span(1, 0, "client", "a", "put", 10, 12)),
	} {
		told := tell(spans, nil, 0)
		if len(told.Spans) != 2 {
			t.Fatalf("%d spans are shown", len(told.Spans))
		}
		var got []string
		for _, n := range told.Spans[1].Notes {
			got = append(got, n.String())
		}
		if strings.Join(got, " ") != want || told.Spans[1].Repeat != (want != "") {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
