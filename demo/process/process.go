// Package process runs programs as children: it starts them out of reach of the terminal's Ctrl-C,
// waits until they listen, stops them with time to finish, and knows what they used.
package process

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"sync"
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

// Process is a program that listens, or one that has ended.
type Process struct {
	// Addr is the host:port on which it listens, Metrics that of its metrics, if it serves any.
	Addr, Metrics string

	name      string
	cmd       *exec.Cmd
	stop      context.CancelFunc // asks it to end
	asked     atomic.Bool
	done      chan struct{} // closed when it and its output have ended
	lastError string        // the last line on standard error, to be read after done
	peak      int64         // memory in bytes, when it was told to stop
}

// Start runs a program in a process group of its own, and returns when it listens. If it ends before
// that, or ctx or ReadyTimeout does, nothing of it is left.
func Start(ctx context.Context, o Options) (*Process, error) {
	p := &Process{name: o.Name, done: make(chan struct{})}
	running, stop := context.WithCancel(context.Background())
	p.cmd, p.stop = exec.CommandContext(running, o.Path, o.Args...), stop
	p.cmd.SysProcAttr = &childAttributes
	p.cmd.Cancel = func() error { return terminate(p.cmd.Process) }
	p.cmd.WaitDelay = Grace // then it is killed, and whoever holds its output open is not waited for
	var output sync.WaitGroup
	ready := make(chan struct{})
	stdout := eachLine(&output, func(line []byte) {
		if o.Stdout != nil {
			o.Stdout(line)
		}
		if p.Addr == "" && p.listens(line) {
			close(ready)
		}
	})
	stderr := eachLine(&output, func(line []byte) {
		p.lastError = string(line)
		if o.Stderr != nil {
			o.Stderr(line)
		}
	})
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = o.Env, stdout, stderr
	if err := p.cmd.Start(); err != nil {
		stop()
		stdout.Close()
		stderr.Close()
		if errors.Is(err, fs.ErrPermission) {
			err = fmt.Errorf("%w: set TMPDIR to a folder in which programs may run", err)
		}
		return nil, fmt.Errorf("start %s: %w", o.Name, err)
	}
	go func() {
		_ = p.cmd.Wait() // ProcessState says how it ended
		stdout.Close()
		stderr.Close()
		output.Wait()
		close(p.done)
	}()
	var err error
	select {
	case <-ready:
		return p, nil
	case <-p.done:
		err = fmt.Errorf("%s ended before it was ready: %s", p.name, p.how())
	case <-time.After(ReadyTimeout):
		err = fmt.Errorf("%s did not say that it listens within %s", p.name, ReadyTimeout)
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	p.Kill()
	return nil, err
}

// eachLine returns what calls f with each line that is written to it, without its end.
func eachLine(running *sync.WaitGroup, f func(line []byte)) *io.PipeWriter {
	r, w := io.Pipe()
	running.Go(func() {
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, math.MaxInt)
		for lines.Scan() {
			f(lines.Bytes())
		}
	})
	return w
}

// listens reads the lines by which a service tells its addresses, that of its metrics first, and
// reports whether it was told both:
//
//	{"time":"…","level":"INFO","msg":"listening","addr":"127.0.0.1:43211"}
func (p *Process) listens(line []byte) bool {
	var entry struct{ Msg, Addr string }
	switch err := json.Unmarshal(line, &entry); {
	case err != nil:
	case entry.Msg == "serving metrics":
		p.Metrics = entry.Addr
	case entry.Msg == "listening":
		p.Addr = entry.Addr
	}
	return p.Addr != ""
}

// Wait waits for the process's end. It returns how it ended, with its last line on standard error, and
// whether Stop or Kill was called: if not, it ended by itself.
func (p *Process) Wait() (how string, asked bool) {
	<-p.done
	return p.how(), p.asked.Load()
}

func (p *Process) how() string {
	how := p.cmd.ProcessState.String()
	if p.lastError != "" {
		how += ": " + p.lastError
	}
	return how
}

// Ended reports whether the process has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Stop asks the process to end and waits for it. It is killed when ctx or Grace ends first. The
// error says that it ended badly, or by itself before; the next call does nothing.
func (p *Process) Stop(ctx context.Context) error {
	ended := p.Ended()
	if p.asked.Swap(true) {
		<-p.done
		return nil
	}
	if ended {
		return fmt.Errorf("%s ended by itself: %s", p.name, p.how())
	}
	p.peak = peakMemory(p.cmd.Process.Pid)
	p.stop()
	select {
	case <-p.done:
		if !p.cmd.ProcessState.Success() {
			return fmt.Errorf("%s did not stop well within %s: %s", p.name, Grace, p.how())
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
