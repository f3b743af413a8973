package process

import "bytes"

// maxLine bounds what is held of a line that does not end, in bytes. A longer one comes out in
// pieces of this size.
const maxLine = 1 << 20

// Lines is an io.Writer that cuts a stream into lines. It is used by one goroutine at a time.
type Lines struct {
	// Emit gets each line without its end. It must not keep the slice.
	Emit func(line []byte)
	buf  []byte
}

func (l *Lines) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			l.buf = append(l.buf, p...)
			for len(l.buf) >= maxLine {
				l.Emit(l.buf[:maxLine])
				l.buf = append([]byte(nil), l.buf[maxLine:]...)
			}
			break
		}
		if len(l.buf) == 0 {
			l.Emit(p[:i])
		} else {
			l.buf = append(l.buf, p[:i]...)
			l.Flush()
		}
		p = p[i+1:]
	}
	return n, nil
}

// Flush emits what came last without a line's end.
func (l *Lines) Flush() {
	if len(l.buf) > 0 {
		l.Emit(l.buf)
		l.buf = nil
	}
}

// output reads a process's standard output for the addresses that it tells, and passes lines on.
type output struct {
	process   *Process
	emit      func([]byte)
	lines     Lines
	listening bool
	tail      []byte // the end of what was written, where lines are dropped
}

func (o *output) Write(b []byte) (int, error) {
	if o.listening && o.emit == nil {
		o.tail = append(o.tail[:0], b[max(0, len(b)-512):]...)
		return len(b), nil
	}
	o.lines.Emit = o.line
	return o.lines.Write(b)
}

func (o *output) line(line []byte) {
	if o.emit != nil {
		o.emit(line)
	}
	if o.listening {
		return
	}
	if addr, ok := announcement(line, "serving metrics"); ok { // comes first
		o.process.metrics = addr
	}
	if addr, ok := announcement(line, "listening"); ok {
		o.process.addr, o.listening = addr, true
		close(o.process.ready)
	}
}

func (o *output) flush() {
	o.lines.Emit = o.line
	o.lines.Flush()
	text := bytes.TrimSpace(o.tail)
	o.process.mu.Lock()
	defer o.process.mu.Unlock()
	o.process.lastLine = string(text[bytes.LastIndexByte(text, '\n')+1:])
}
