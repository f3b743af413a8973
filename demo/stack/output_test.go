package stack

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"example.com/grafana-tempo-go-demo/demo/process"
)

func TestLinesOfManyPartsAreNeverMixed(t *testing.T) {
	var b bytes.Buffer // not safe for concurrent use: its lock is what is tested
	s := newOutput(&b, slog.LevelInfo)
	var wg sync.WaitGroup
	for i := range 4 {
		w := &process.Lines{Emit: func(line []byte) { s.line(fmt.Sprintf("part%d", i), line) }}
		wg.Go(func() {
			for range 200 {
				for range 10 {
					_, _ = w.Write(bytes.Repeat([]byte{byte('a' + i)}, 50))
				}
				_, _ = w.Write([]byte("\n"))
			}
		})
	}
	wg.Wait()
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	if len(lines) != 800 {
		t.Fatalf("%d lines", len(lines))
	}
	for _, line := range lines {
		i := line[4] - '0'
		if want := fmt.Sprintf("%-9s | %s", line[:5], strings.Repeat(string('a'+rune(i)), 500)); line != want {
			t.Fatalf("got %q", line)
		}
	}
}

func TestOutputHidesLevelsAndTamesTerminals(t *testing.T) {
	for _, tc := range []struct {
		name     string
		level    slog.Level
		terminal bool
		line     string
		want     string
	}{
		{"info is shown at info", slog.LevelInfo, false, `{"level":"INFO"}`, "p         | {\"level\":\"INFO\"}\n"},
		{"info is hidden at warn", slog.LevelWarn, false, `{"level":"INFO"}`, ""},
		{"errors are shown at warn", slog.LevelWarn, false, `{"level":"ERROR"}`, "p         | {\"level\":\"ERROR\"}\n"},
		{"plain text is shown always", slog.LevelError, false, "panic: x\r", "p         | panic: x\n"},
		{"a page that a service logs is cut", slog.LevelInfo, false, `{"level":"INFO","body":"<p>\n` + strings.Repeat("é", 100) + `","x":1}`,
			`p         | {"level":"INFO","body":"<p>\n` + strings.Repeat("é", 73) + `...","x":1}` + "\n"},
		{"a short body is not", slog.LevelInfo, false, `{"body":"\u003cp>"}`, `p         | {"body":"\u003cp>"}` + "\n"},
		{"a terminal gets colour and no control characters", slog.LevelInfo, true, "a\tb\x1b[2J", "\x1b[36mp         | \x1b[0ma    b\uFFFD[2J\n"},
		{"a file gets the bytes as they are", slog.LevelInfo, false, "a\tb\x1b[2J", "p         | a\tb\x1b[2J\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var b bytes.Buffer
			o := newOutput(&b, tc.level)
			o.terminal = tc.terminal
			o.line("p", []byte(tc.line))
			if b.String() != tc.want {
				t.Errorf("got %q, want %q", b.String(), tc.want)
			}
		})
	}
}
