package process

import (
	"slices"
	"testing"
)

func TestListeningLine(t *testing.T) {
	for _, tc := range []struct{ name, line, addr string }{
		{"the line", `{"time":"2026-01-01T00:00:00Z","level":"INFO","msg":"listening","addr":"127.0.0.1:43211"}`, "127.0.0.1:43211"},
		{"another line", `{"level":"INFO","msg":"request","addr":"127.0.0.1:43211"}`, ""},
		{"the word in another place", `{"msg":"request","path":"listening","addr":"evil:1"}`, ""},
		{"no address", `{"msg":"listening"}`, ""},
		{"an address of another type", `{"msg":"listening","addr":7}`, ""},
		{"no JSON", `"listening" addr=1`, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := Process{ready: make(chan struct{})}
			p.listen([]byte(tc.line))
			ready := false
			select {
			case <-p.ready:
				ready = true
			default:
			}
			if p.addr != tc.addr || ready != (tc.addr != "") {
				t.Errorf("got %q %v", p.addr, ready)
			}
		})
	}
}

func TestLineWriterCutsWholeLines(t *testing.T) {
	for _, tc := range []struct {
		name   string
		writes []string
		want   []string
	}{
		{"lines in one write", []string{"a\nb\n"}, []string{"a", "b"}},
		{"a line in pieces", []string{"a", "b", "c\nd"}, []string{"abc", "d"}},
		{"empty lines", []string{"\n\n"}, []string{"", ""}},
		{"no newline at the end", []string{"a\nrest"}, []string{"a", "rest"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			w := &Lines{Emit: func(line []byte) { got = append(got, string(line)) }}
			for _, s := range tc.writes {
				if n, err := w.Write([]byte(s)); n != len(s) || err != nil {
					t.Fatal(n, err)
				}
			}
			w.Flush()
			if !slices.Equal(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
