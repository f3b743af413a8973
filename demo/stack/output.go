package stack

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/tidwall/gjson"

	"example.com/grafana-tempo-go-demo/demo/term"
)

// prefixColours are ANSI colours that help to tell the parts apart.
var prefixColours = []string{"\x1b[36m", "\x1b[33m", "\x1b[35m", "\x1b[32m", "\x1b[34m", "\x1b[96m", "\x1b[93m"}

// output is where the lines of all parts go, whole ones only.
type output struct {
	mu sync.Mutex
	w  io.Writer
	// terminal adds colours, and takes from lines what a terminal would obey.
	terminal bool
	colours  map[string]string
}

func newOutput(w io.Writer) *output {
	return &output{w: w, terminal: term.Colours(w), colours: map[string]string{}}
}

// line writes one line of a part. That nobody listens any more is no reason to stop.
func (o *output) line(part string, line []byte) { _, _ = partWriter{o, part}.Write(line) }

// logger logs under a part's name. slog's handler writes whole lines under a lock.
func (o *output) logger(part string) *slog.Logger {
	return slog.New(slog.NewJSONHandler(partWriter{o, part}, nil))
}

type partWriter struct {
	*output
	part string
}

// Write writes one line, with or without its end.
func (o partWriter) Write(line []byte) (int, error) {
	text := cutBody(bytes.TrimSuffix(line, []byte("\n")))
	o.mu.Lock()
	defer o.mu.Unlock()
	prefix := fmt.Sprintf("%-9s | ", o.part)
	if o.terminal {
		if o.colours[o.part] == "" {
			o.colours[o.part] = prefixColours[len(o.colours)%len(prefixColours)]
		}
		prefix = term.Paint(true, o.colours[o.part], prefix)
		text = []byte(term.Clean(strings.ReplaceAll(string(text), "\t", "    ")))
	}
	_, _ = fmt.Fprintf(o.w, "%s%s\n", prefix, text) // in one call of Write
	return len(line), nil
}

// cutBody leaves about a line of the body that a service logs of an answer, which is a whole page.
func cutBody(line []byte) []byte {
	body := gjson.GetBytes(line, "body")
	if body.Type != gjson.String || body.Index == 0 || term.Columns(body.Str) <= term.DefaultWidth {
		return line
	}
	var short bytes.Buffer
	enc := json.NewEncoder(&short)
	enc.SetEscapeHTML(false)                                     // as slog
	_ = enc.Encode(term.Fit(body.Str, term.DefaultWidth, "...")) // a string can be encoded
	return slices.Concat(line[:body.Index], bytes.TrimSuffix(short.Bytes(), []byte("\n")), line[body.Index+len(body.Raw):])
}
