package stack

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"

	"example.com/grafana-tempo-go-demo/demo/waterfall"
)

// maxLine bounds what is held of a line that does not end; a longer one comes out in pieces of this size.
const maxLine = 1 << 20

// prefixColours are ANSI colours by which the parts are told apart, next to their names.
var prefixColours = []string{"\x1b[36m", "\x1b[33m", "\x1b[35m", "\x1b[32m", "\x1b[34m", "\x1b[96m", "\x1b[93m"}

// sink collects the output of all parts, whole lines only.
type sink struct {
	mu    sync.Mutex
	w     io.Writer
	level slog.Level // JSON lines below it are not shown
	// terminal adds colours, and takes from lines what a terminal would obey.
	terminal bool
	colours  map[string]string
	buf      []byte // of the line that is being written
}

func newSink(w io.Writer, level slog.Level, terminal bool) *sink {
	if w == nil {
		w = io.Discard
	}
	return &sink{w: w, level: level, terminal: terminal, colours: map[string]string{}}
}

// line writes one line of a part. A writer that fails is no reason to stop the demo: who closed it does not listen.
func (s *sink) line(part string, line []byte) {
	line = bytes.TrimSuffix(line, []byte("\r"))
	if s.hidden(line) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	prefix := fmt.Sprintf("%-9s | ", part)
	if s.terminal {
		colour, ok := s.colours[part]
		if !ok {
			colour = prefixColours[len(s.colours)%len(prefixColours)]
			s.colours[part] = colour
		}
		prefix = colour + prefix + "\x1b[0m"
		line = []byte(waterfall.Clean(strings.ReplaceAll(string(line), "\t", "    ")))
	}
	s.buf = fmt.Appendf(s.buf[:0], "%s%s\n", prefix, line)
	_, _ = s.w.Write(s.buf)
}

// hidden tells whether a line is a JSON log line below the level that was asked for. The services always log at info or
// below, because the runner itself reads those lines.
func (s *sink) hidden(line []byte) bool {
	if s.level <= slog.LevelInfo || !bytes.HasPrefix(line, []byte("{")) {
		return false
	}
	var entry struct{ Level *slog.Level }
	return json.Unmarshal(line, &entry) == nil && entry.Level != nil && *entry.Level < s.level
}

// lineWriter cuts a stream into lines. It is used by one goroutine at a time.
type lineWriter struct {
	emit func(line []byte)
	buf  []byte
}

func (w *lineWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			w.buf = append(w.buf, p...)
			for len(w.buf) >= maxLine {
				w.emit(w.buf[:maxLine])
				w.buf = append([]byte(nil), w.buf[maxLine:]...)
			}
			break
		}
		if len(w.buf) == 0 {
			w.emit(p[:i])
		} else {
			w.buf = append(w.buf, p[:i]...)
			w.Flush()
		}
		p = p[i+1:]
	}
	return n, nil
}

// Flush emits what came last without a newline.
func (w *lineWriter) Flush() {
	if len(w.buf) > 0 {
		w.emit(w.buf)
		w.buf = nil
	}
}

// logger returns a logger whose lines come out under a part's name. slog's handler writes whole lines under a lock.
func (s *sink) logger(part string) *slog.Logger {
	w := &lineWriter{emit: func(line []byte) { s.line(part, line) }}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: s.level}))
}
