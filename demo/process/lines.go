package process

import "bytes"

// Lines is an io.Writer that cuts a stream into lines. It is used by one goroutine at a time.
type Lines struct {
	// Emit gets each line without its end. It must not keep the slice.
	Emit func(line []byte)
	buf  []byte
}

func (l *Lines) Write(p []byte) (int, error) {
	l.buf = append(l.buf, p...)
	for {
		line, rest, found := bytes.Cut(l.buf, []byte("\n"))
		if !found {
			return len(p), nil
		}
		l.Emit(line)
		l.buf = rest
	}
}

// Flush emits what came last without a line's end.
func (l *Lines) Flush() {
	if len(l.buf) > 0 {
		l.Emit(l.buf)
		l.buf = nil
	}
}
