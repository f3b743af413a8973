package process

import "bytes"

// maxLine bounds the bytes held of a line; a longer one comes out in pieces of this size.
const maxLine = 1 << 20

// Lines is an io.Writer that cuts a stream into lines. It is used by one goroutine at a time.
type Lines struct {
	// Emit gets each line without its end. It must not keep the slice.
	Emit func(line []byte)
	buf  []byte
}

func (l *Lines) Write(p []byte) (int, error) {
	l.buf = append(l.buf, p...)
	rest := l.buf
	for {
		line, after, found := bytes.Cut(rest, []byte("\n"))
		if !found {
			if len(rest) < maxLine {
				break
			}
			line, after = rest[:maxLine], rest[maxLine:]
		}
		l.Emit(line)
		rest = after
	}
	l.buf = append(l.buf[:0], rest...)
	return len(p), nil
}

// Flush emits what came last without a line's end.
func (l *Lines) Flush() {
	if len(l.buf) > 0 {
		l.Emit(l.buf)
		l.buf = nil
	}
}
