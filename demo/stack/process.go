package stack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// readyTimeout is how long a service may take from its start until it listens.
const readyTimeout = 30 * time.Second

// child is one service's process.
type child struct {
	name     string
	metrics  string // the address of its metrics, or empty; to be read after wait
	cmd      *exec.Cmd
	ready    chan string       // gets the address once, when it listens
	done     chan struct{}     // closed when the process and its output have ended
	err      error             // how it ended; to be read after done
	expected atomic.Bool       // it has been told to end
	own      map[string]string // its environment, but for what it has from the runner
	started  time.Time
	restarts int // how many starts in a row this one is, after its predecessors ended by themselves

	mu        sync.Mutex
	lastWords string // its last line on standard error
}

// start runs a program as a child in a process group of its own. Its output goes to the sink line by line, and every
// line of its standard output to observe as well, if that is not nil.
func (sp *spawner) start(name, path string, args, env []string, out *sink, observe func(string, []byte)) (*child, error) {
	c := &child{name: name, ready: make(chan string, 1), done: make(chan struct{}), started: time.Now()}
	cmd := exec.Command(path, args...)
	cmd.Env = env
	announced := false
	stdout := &lineWriter{emit: func(line []byte) {
		if observe != nil {
			observe(name, line)
		}
		out.line(name, line)
		if announced {
			return
		}
		if addr, ok := announcement(line, "serving metrics"); ok { // comes first
			c.metrics = addr
		}
		if addr, ok := announcement(line, "listening"); ok {
			announced = true
			c.ready <- addr
		}
	}}
	stderr := &lineWriter{emit: func(line []byte) {
		c.mu.Lock()
		c.lastWords = string(bytes.TrimSpace(line))
		c.mu.Unlock()
		out.line(name, line)
	}}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.WaitDelay = 2 * time.Second // somebody else may hold its output open
	ownGroup(cmd)
	if err := sp.do(cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	c.cmd = cmd
	go func() {
		c.err = cmd.Wait()
		stdout.Flush()
		stderr.Flush()
		close(c.done)
	}()
	return c, nil
}

// wait returns the address that the child listens on.
func (c *child) wait(ctx context.Context) (string, error) {
	timeout := time.NewTimer(readyTimeout)
	defer timeout.Stop()
	select {
	case addr := <-c.ready:
		return addr, nil
	case <-c.done:
		return "", fmt.Errorf("%s ended before it was ready: %s", c.name, c.obituary())
	case <-timeout.C:
		return "", fmt.Errorf("%s did not say that it listens within %s", c.name, readyTimeout)
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// ended tells whether the child is gone.
func (c *child) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// obituary says how the child ended, with its last words. It must have.
func (c *child) obituary() string {
	how := "exit status 0"
	if c.err != nil {
		how = c.err.Error()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lastWords != "" {
		how += ": " + c.lastWords
	}
	return how
}

// stop asks the child to end and waits for it; it is killed when ctx or the grace ends first. The error says so, or that
// it ended badly.
func (c *child) stop(ctx context.Context, grace time.Duration) error {
	if c.expected.Swap(true) {
		<-c.done
		return nil
	}
	select {
	case <-c.done:
		return nil // its end has been told already
	default:
	}
	if err := terminate(c.cmd.Process); err != nil && !errors.Is(err, os.ErrProcessDone) {
		kill(c.cmd.Process)
	}
	timeout := time.NewTimer(grace)
	defer timeout.Stop()
	select {
	case <-c.done:
		if c.err != nil {
			return fmt.Errorf("%s did not stop well: %s", c.name, c.obituary())
		}
		return nil
	case <-timeout.C:
		kill(c.cmd.Process)
		<-c.done
		return fmt.Errorf("%s was killed: it had not stopped within %s", c.name, grace)
	case <-ctx.Done():
		kill(c.cmd.Process)
		<-c.done
		return fmt.Errorf("%s was killed: %w", c.name, context.Cause(ctx))
	}
}

// announcement recognizes the line by which a service tells an address of its own, as JSON:
//
//	{"time":"…","level":"INFO","msg":"listening","addr":"127.0.0.1:43211"}
func announcement(line []byte, message string) (addr string, ok bool) {
	if !bytes.Contains(line, []byte(message)) {
		return "", false
	}
	var entry struct{ Msg, Addr string }
	if json.Unmarshal(line, &entry) != nil || entry.Msg != message || entry.Addr == "" {
		return "", false
	}
	return entry.Addr, true
}

// spawner starts processes from one thread that lives until it is closed. Linux ends a child with parent-death signal
// when the thread that started it ends, not when the process does, and Go ends threads as it likes.
type spawner struct {
	calls chan func()
}

func newSpawner() *spawner {
	sp := &spawner{calls: make(chan func())}
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		for call := range sp.calls {
			call()
		}
	}()
	return sp
}

func (sp *spawner) do(f func() error) error {
	result := make(chan error, 1)
	sp.calls <- func() { result <- f() }
	return <-result
}

// close ends the thread, and with it, on Linux, every child that is still there.
func (sp *spawner) close() { close(sp.calls) }
