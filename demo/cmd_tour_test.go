package main

import (
	"bytes"
	"strings"
	"testing"

	"example.com/grafana-tempo-go-demo/demo/term"
)

func TestTourTellsAStoryThatEndsWithWhereItBegan(t *testing.T) {
	for _, c := range []struct {
		name, flag, query string
		want              []string // in this order
	}{
		{"all goes well", "", "", []string{
			"1. uservice1", "-> 200 OK after", "-> 200 OK after", "traceresponse: 00-", "      ├─ redis_call", "            └─ database_call      uservice4",
			"uservice1  uber-trace-id", "dropped\n                              the span in it: ReverseProxy of gateway\n",
			"uservice3 -> uservice4  uber-trace-id", "the span in it: other_uservice_call of uservice3\n", "It is one trace.",
			"5. Where the time went", "What next:",
		}},
		{"Redis fails", "-fail=redis", "?fail=redis",
			[]string{"-> 500 ", "-> 500 ", "5. Where the error began", "The error began in redis_call of uservice3: “"}},
		{"Redis is slow", "-slow=redis", "?slow=redis",
			[]string{"-> 200 ", "-> 200 ", "5. Where the time went", " % of the time went into redis_call of uservice3: "}},
	} {
		t.Run(c.name, func(t *testing.T) {
			story := tellTour(t, strings.Fields(c.flag)...)
			if n := strings.Count(story, c.query+"\n"); c.query != "" && n != 2 {
				t.Errorf("%d calls have the query %s, want 2", n, c.query)
			}
			rest := story
			for _, want := range c.want {
				_, after, ok := strings.Cut(rest, want)
				if !ok {
					t.Fatalf("no %q where it should be in\n%s", want, story)
				}
				rest = after
			}
			for line := range strings.Lines(story) {
				if term.Columns(strings.TrimSuffix(line, "\n")) > term.DefaultWidth {
					t.Errorf("too long for a terminal: %s", line)
				}
			}
			if strings.Contains(story, "is not in the ledger") || strings.ContainsRune(story, '\x1b') {
				t.Errorf("a call is missing in the ledger, or there are colours though it is no terminal:\n%s", story)
			}
		})
	}
}

// tellTour returns what `demo tour` prints.
func tellTour(t *testing.T, args ...string) string {
	t.Helper()
	programs(t)
	t.Setenv("COLUMNS", "80")
	t.Setenv("LC_ALL", "C.UTF-8")
	var stdout, stderr bytes.Buffer
	if code := runHere(t.Context(), nil, &stdout, &stderr, append([]string{"tour"}, args...)...); code != 0 {
		t.Fatalf("exit code %d\n%s", code, &stderr)
	}
	return stdout.String()
}
