package compare

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// readyTimeout is how long a process may take until it listens.
	readyTimeout = 30 * time.Second
	// grace is how long it may take to stop before it is killed. A service needs at most 20 s: 15 to answer what is in
	// flight and 5 to send its spans.
	grace = 25 * time.Second
	// maxWords bounds what is kept of a process's standard error and of an unfinished line.
	maxWords = 64 << 10
)

// child is a process that is measured.
type child struct {
	name string
	cmd  *exec.Cmd
	addr string // where it listens

	ready chan string   // gets the address
	done  chan struct{} // closed when the process has ended
	err   error         // how it ended; to be read after done

	out  output
	errs words
}

// usage is what a process has taken from the machine from its start to its end.
type usage struct {
	cpu  time.Duration // user and system
	peak int64         // most bytes resident; 0 where that cannot be known
}

func (u *usage) add(v usage) {
	u.cpu += v.cpu
	u.peak += v.peak
}

// startChild starts cmd in a process group of its own, and returns when it listens, as its log says. Nothing is left of
// it after an error.
func startChild(ctx context.Context, name string, cmd *exec.Cmd) (*child, error) {
	c := &child{name: name, cmd: cmd, ready: make(chan string, 1), done: make(chan struct{})}
	c.out.ready = c.ready
	cmd.Stdout, cmd.Stderr = &c.out, &c.errs
	cmd.WaitDelay = 2 * time.Second // somebody else may hold its output open
	ownGroup(cmd)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		c.err = cmd.Wait()
		close(c.done)
	}()
	timeout := time.NewTimer(readyTimeout)
	defer timeout.Stop()
	var err error
	select {
	case c.addr = <-c.ready:
		return c, nil
	case <-c.done:
		return nil, c.death()
	case <-timeout.C:
		err = fmt.Errorf("%s did not say that it listens within %s", name, readyTimeout)
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	kill(cmd.Process)
	<-c.done
	return nil, err
}

// death says how a child ended that nobody had asked to, with its last words.
func (c *child) death() error {
	how := "exit status 0"
	if c.err != nil {
		how = c.err.Error()
	}
	if words := c.errs.last(); words != "" {
		how += ": " + words
	}
	return fmt.Errorf("%s ended by itself: %s", c.name, how)
}

// stop asks the child to end, waits, and returns what it has used. It is killed when ctx or its grace ends first.
func (c *child) stop(ctx context.Context) (usage, error) {
	select {
	case <-c.done:
		return usage{}, c.death()
	default:
	}
	u := usage{peak: peakMemory(c.cmd.Process.Pid)}
	if err := terminate(c.cmd.Process); err != nil && !errors.Is(err, os.ErrProcessDone) {
		kill(c.cmd.Process)
	}
	timeout := time.NewTimer(grace)
	defer timeout.Stop()
	var killed error
	select {
	case <-c.done:
	case <-timeout.C:
		killed = fmt.Errorf("%s was killed: it had not stopped within %s", c.name, grace)
	case <-ctx.Done():
		killed = fmt.Errorf("%s was killed: %w", c.name, context.Cause(ctx))
	}
	if killed != nil {
		kill(c.cmd.Process)
		<-c.done
		return usage{}, killed
	}
	if c.err != nil {
		return usage{}, fmt.Errorf("%s did not stop well: %w: %s", c.name, c.err, c.errs.last())
	}
	u.cpu = c.cmd.ProcessState.UserTime() + c.cmd.ProcessState.SystemTime()
	u.peak = max(u.peak, peakMemoryOf(c.cmd.ProcessState))
	return u, nil
}

// output takes a process's log. Until it has told its address, lines are read; after that they are taken and dropped, so
// that writing them costs the process what it costs anywhere, and reading them costs us next to nothing. The last line
// is kept for what a process says at its end.
type output struct {
	ready chan<- string
	told  bool
	tail  []byte
}

func (o *output) Write(p []byte) (int, error) {
	if o.told { // only the end is of interest, which is short
		o.tail = append(o.tail[:0], p[max(0, len(p)-512):]...)
		return len(p), nil
	}
	o.tail = append(o.tail, p...)
	for {
		line, rest, ok := bytes.Cut(o.tail, []byte("\n"))
		if !ok {
			break
		}
		o.tail = rest
		var entry struct{ Msg, Addr string }
		if json.Unmarshal(line, &entry) == nil && entry.Msg == "listening" && entry.Addr != "" {
			o.told = true
			o.ready <- entry.Addr
			break
		}
	}
	if len(o.tail) > maxWords {
		o.tail = nil
	}
	return len(p), nil
}

// words keeps the end of what was written.
type words struct {
	mu   sync.Mutex
	text []byte
}

func (w *words) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, p...)
	if len(w.text) > maxWords {
		w.text = slices.Clone(w.text[len(w.text)-maxWords/2:])
	}
	return len(p), nil
}

// last returns the last line.
func (w *words) last() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := strings.TrimSpace(string(w.text))
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// inherited are the variables that processes get from the user's environment. All others could disturb them, and the
// Go runtime's own are worth playing with: GOGC=100 go run ./demo compare.
var inherited = []string{"PATH", "HOME", "USER", "TMPDIR", "TMP", "TEMP", "SYSTEMROOT", "USERPROFILE",
	"GOMAXPROCS", "GOGC", "GOMEMLIMIT", "GODEBUG"}

// environment returns what a process is to see: inherited variables, and of its own those that are not inherited.
func environment(parent []string, own ...map[string]string) []string {
	var env, names []string
	for _, kv := range parent {
		name, _, _ := strings.Cut(kv, "=")
		if name = strings.ToUpper(name); slices.Contains(inherited, name) {
			env, names = append(env, kv), append(names, name)
		}
	}
	for _, vars := range own {
		for name, value := range vars {
			if !slices.Contains(names, name) {
				env = append(env, name+"="+value)
			}
		}
	}
	return env
}
