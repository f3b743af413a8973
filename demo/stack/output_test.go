package stack

import (
	"bytes"
	"strings"
	"testing"
)

func TestOutputIsPrefixedAndTamesTerminals(t *testing.T) {
	for _, tc := range []struct {
		name     string
		terminal bool
		line     string
		want     string
	}{
		{"JSON", false, `{"level":"INFO"}`, "p         | {\"level\":\"INFO\"}\n"},
		{"plain text", false, "panic: x", "p         | panic: x\n"},
		{"a page that a service logs is cut", false, `{"level":"INFO","body":"<p>` + strings.Repeat("é", 100) + `","x":1}`,
			`p         | {"level":"INFO","body":"<p>` + strings.Repeat("é", 74) + `...","x":1}` + "\n"},
		{"a short body is not", false, `{"body":"\u003cp>"}`, `p         | {"body":"\u003cp>"}` + "\n"},
		{"a terminal gets colour and no control characters", true, "a\tb\x1b[2J", "\x1b[36mp         | \x1b[0ma    b\uFFFD[2J\n"},
		{"a file gets the bytes as they are", false, "a\tb\x1b[2J", "p         | a\tb\x1b[2J\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var b bytes.Buffer
			o := newOutput(&b)
			o.terminal = tc.terminal
			o.line("p", []byte(tc.line))
			if b.String() != tc.want {
				t.Errorf("got %q, want %q", b.String(), tc.want)
			}
		})
	}
}
