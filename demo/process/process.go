// Package process runs programs as children: it starts them out of reach of the terminal's Ctrl-C,
// waits until they listen, stops them with time to finish, and knows what they used.
package process

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"sync/atomic"
	"time"
)

const (
	// ReadyTimeout is how long a program may take from its start until it listens.
	ReadyTimeout = 30 * time.Second
	// Grace is how long a program may take to stop before it is killed. The services need at most
	// 20 s: 15 to answer what is in flight and 5 to send their spans.
	Grace = 25 * time.Second
)

// Options say what to run.
type Options struct {
	// Name is what errors call the program.
	Name string
	// Path is the program, Args its arguments, Env its whole environment, as in exec.Cmd.
	Path string
	Args []string
	Env  []string
	// Stdout and Stderr get each line without its end, and must not keep it; nil drops it.
	Stdout, Stderr func(line []byte)
}

// Process is a running program, or one that has ended.
type Process struct {
	name  string
	cmd   *exec.Cmd
	stop  context.CancelFunc // asks it to end
	asked atomic.Bool
	ready chan struct{} // closed when it listens
	done  chan struct{} // closed when it and its output have ended

	addr, metrics string // to be read after ready

	// To be read after done:
	lastLine, lastError []byte // on standard output and standard error
	peak                int64  // memory in bytes, when it was told to stop
}

// Start runs a program in a process group of its own. It does not wait until the program is ready.
func Start(o Options) (*Process, error) {
	p := &Process{name: o.Name, ready: make(chan struct{}), done: make(chan struct{})}
	stdout := &lines{emit: func(line []byte) {
		p.lastLine = append(p.lastLine[:0], line...)
		if o.Stdout != nil {
			o.Stdout(line)
		}
		if p.addr == "" {
			p.listen(line)
		}
	}}
	stderr := &lines{emit: func(line []byte) {
		p.lastError = append(p.lastError[:0], line...)
		if o.Stderr != nil {
			o.Stderr(line)
		}
	}}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, o.Path, o.Args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = o.Env, stdout, stderr
	cmd.SysProcAttr = &childAttributes
	cmd.Cancel = func() error { return terminate(cmd.Process) }
	cmd.WaitDelay = Grace // then it is killed, and whoever holds its output open is not waited for
	p.cmd, p.stop = cmd, cancel
	if err := cmd.Start(); err != nil {
		cancel()
		if errors.Is(err, fs.ErrPermission) {
			err = fmt.Errorf("%w: set TMPDIR to a folder in which programs may run", err)
		}
		return nil, fmt.Errorf("start %s: %w", o.Name, err)
	}
	go func() {
		_ = cmd.Wait() // ProcessState says how it ended
		stdout.flush()
		stderr.flush()
		close(p.done)
	}()
	return p, nil
}

// listen looks for the lines by which a service tells its addresses, that of its metrics first:
//
//	{"time":"…","level":"INFO","msg":"listening","addr":"127.0.0.1:43211"}
func (p *Process) listen(line []byte) {
	var entry struct{ Msg, Addr string }
	switch err := json.Unmarshal(line, &entry); {
	case err != nil || entry.Addr == "":
	case entry.Msg == "serving metrics":
		p.metrics = entry.Addr
	case entry.Msg == "listening":
		p.addr = entry.Addr
		close(p.ready)
	}
}

// Wait returns the address that the process listens on, as soon as it says so.
func (p *Process) Wait(ctx context.Context) (addr string, err error) {
	select {
	case <-p.ready:
		return p.addr, nil
	case <-p.done:
		return "", fmt.Errorf("%s ended before it was ready: %s", p.name, p.How())
	case <-time.After(ReadyTimeout):
		return "", fmt.Errorf("%s did not say that it listens within %s", p.name, ReadyTimeout)
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// Name is the name that it was started by.
func (p *Process) Name() string { return p.name }

// Metrics is the address on which the process serves its metrics, or "". Call it after Wait.
func (p *Process) Metrics() string { return p.metrics }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Ended reports whether the process has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Asked reports whether Stop or Kill was called: if not, it ended by itself.
func (p *Process) Asked() bool { return p.asked.Load() }

// How says how the process ended, with its last line on standard error. Call it after its end.
func (p *Process) How() string {
	how := p.cmd.ProcessState.String()
	if last := bytes.TrimSpace(p.lastError); len(last) > 0 {
		how += ": " + string(last)
	}
	return how
}

// LastLine is the process's last line on standard output. Call it after its end.
func (p *Process) LastLine() string { return string(p.lastLine) }

// Stop asks the process to end and waits for it. It is killed when ctx or Grace ends first. The
// error says that it ended badly; it is nil for a process that had ended before.
func (p *Process) Stop(ctx context.Context) error {
	if p.asked.Swap(true) || p.Ended() {
		<-p.done
		return nil
	}
	p.peak = peakMemory(p.cmd.Process.Pid)
	p.stop()
	select {
	case <-p.done:
		if !p.cmd.ProcessState.Success() {
			return fmt.Errorf("%s did not stop well within %s: %s", p.name, Grace, p.How())
		}
		return nil
	case <-ctx.Done():
		p.Kill()
		return fmt.Errorf("%s was killed: %w", p.name, context.Cause(ctx))
	}
}

// Kill ends the process and what it started, and waits for its end.
func (p *Process) Kill() {
	p.asked.Store(true)
	kill(p.cmd.Process)
	<-p.done
}

// Usage is what the process used from its start to its end, of which Stop has returned: processor
// time, user and system, and the most bytes resident, 0 on systems other than Linux.
func (p *Process) Usage() (cpu time.Duration, peak int64) {
	return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime(), p.peak
}

// peakMemory is the most memory that a process has had resident, in bytes; 0 without Linux's /proc.
// What getrusage says afterwards starts with what the parent had (fs/exec.c in the kernel).
func peakMemory(pid int) int64 {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, after, _ := bytes.Cut(status, []byte("VmHWM:")) // VmHWM:     5120 kB
	var kib int64
	_, _ = fmt.Sscan(string(after), &kib)
	return kib << 10
}

// lines is an io.Writer that cuts a stream into lines. It is used by one goroutine at a time.
type lines struct {
	emit func(line []byte) // gets each line without its end, and must not keep it
	buf  []byte
}

func (l *lines) Write(p []byte) (int, error) {
	l.buf = append(l.buf, p...)
	for {
		line, rest, found := bytes.Cut(l.buf, []byte("\n"))
		if !found {
			return len(p), nil
		}
		l.emit(line)
		l.buf = rest
	}
}

// flush emits what came last without a line's end.
func (l *lines) flush() {
	if len(l.buf) > 0 {
		l.emit(l.buf)
		l.buf = nil
	}
}
