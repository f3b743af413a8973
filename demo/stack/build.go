package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"example.com/grafana-tempo-go-demo/demo/discover"
)

// FindRoot returns the repository's root: dir or the nearest folder above it that has a go.work and a folder for each
// service.
func FindRoot(dir string) (string, error) {
	start, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if isRoot(dir) {
			return dir, nil
		}
		if filepath.Dir(dir) == dir {
			return "", fmt.Errorf("%s is not inside the demo's repository: neither there nor above is a folder with a go.work and uservice1 to uservice4; run this from a clone of it", start)
		}
	}
}

func isRoot(dir string) bool {
	if st, err := os.Stat(filepath.Join(dir, "go.work")); err != nil || st.IsDir() {
		return false
	}
	for _, s := range Services() {
		if st, err := os.Stat(filepath.Join(dir, s.Name)); err != nil || !st.IsDir() {
			return false
		}
	}
	return true
}

// Build compiles the four services of the repository at root into dir, which must exist. Progress goes to out: one line
// that rewrites itself if live, otherwise a line every ten seconds. The compiler's complaints are in the error.
func Build(ctx context.Context, root, dir string, out io.Writer, live bool) error {
	gocmd, err := exec.LookPath("go")
	if err != nil {
		return errors.New("cannot find the go command, which builds the services: install Go from https://go.dev/dl/ and see that `go version` works")
	}
	// With several packages, -o has to name a folder that exists. No -trimpath, unlike in the Dockerfiles: with it nothing
	// that `go run ./demo` has just compiled could be used again, and the very first start would take twice as long
	// (50 s instead of 27 s, measured on two cores).
	args := []string{"build", "-v", "-buildvcs=false", "-ldflags", "-s -w", "-o", dir + string(filepath.Separator)}
	names := make([]string, 0, 4)
	for _, s := range Services() {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	for _, name := range names {
		args = append(args, "./"+name)
	}
	tmp, err := os.MkdirTemp(dir, "go-")
	if err != nil {
		return fmt.Errorf("build: %w", err)
	}
	defer os.RemoveAll(tmp)

	cmd := exec.CommandContext(ctx, gocmd, args...)
	cmd.Dir = root
	// What is set in the shell for other work must not make these binaries unfit for this machine, or this folder no
	// workspace. The compiler's temporary files go where ours are, to be removed with them in any case.
	cmd.Env = append(os.Environ(), "GOWORK="+filepath.Join(root, "go.work"), "GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH,
		"GOTMPDIR="+tmp, "PWD="+root)
	ownGroup(cmd)
	cmd.Cancel = func() error { return interruptGroup(cmd) }
	cmd.WaitDelay = 10 * time.Second

	p := newProgress(out, live)
	lines := &lineWriter{emit: p.line}
	cmd.Stdout, cmd.Stderr = lines, lines
	sp := newSpawner()
	defer sp.close()
	p.begin()
	err = sp.do(cmd.Start)
	if err == nil {
		err = cmd.Wait()
		lines.Flush()
	}
	p.end(err)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("build the services: %w\n%s", err, strings.Join(p.complaints, "\n"))
	}
	return nil
}

// progress shows that a build moves. `go build -v` names each package that it compiles on a line of its own; all other
// lines are kept for the error, but for the downloads, which are progress too.
type progress struct {
	out   io.Writer
	live  bool
	start time.Time
	stop  chan struct{}
	done  sync.WaitGroup

	mu         sync.Mutex
	packages   int
	current    string
	complaints []string
}

func newProgress(out io.Writer, live bool) *progress {
	if out == nil {
		out = io.Discard
	}
	return &progress{out: out, live: live, stop: make(chan struct{}), start: time.Now()}
}

func (p *progress) line(line []byte) {
	text := strings.TrimRight(string(line), "\r")
	p.mu.Lock()
	defer p.mu.Unlock()
	if rest, ok := strings.CutPrefix(text, "go: downloading "); ok {
		p.current = "downloading " + rest
		return
	}
	if text != "" && !strings.ContainsAny(text, " \t:") {
		p.packages++
		p.current = text
		return
	}
	if len(p.complaints) < 100 {
		p.complaints = append(p.complaints, text)
	}
}

func (p *progress) begin() {
	every := 10 * time.Second
	if p.live {
		every = 200 * time.Millisecond
	} else {
		fmt.Fprintln(p.out, "building the four services (the first time takes longer)")
	}
	p.done.Add(1)
	go func() {
		defer p.done.Done()
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-p.stop:
				return
			case <-tick.C:
				p.show()
			}
		}
	}()
}

func (p *progress) show() {
	p.mu.Lock()
	text := fmt.Sprintf("building the four services: %s", time.Since(p.start).Round(time.Second))
	if p.packages > 0 {
		text += ", " + strconv.Itoa(p.packages) + " packages"
	}
	current := p.current
	p.mu.Unlock()
	if current != "" {
		text += ", " + current
	}
	if !p.live {
		fmt.Fprintln(p.out, text)
		return
	}
	if len(text) > 78 {
		text = text[:78] // a line that wraps could not be rewritten
	}
	fmt.Fprint(p.out, "\r\x1b[K"+text)
}

func (p *progress) end(err error) {
	close(p.stop)
	p.done.Wait()
	if p.live {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
	if err == nil {
		fmt.Fprintf(p.out, "built the four services in %.1f s\n", time.Since(p.start).Seconds())
	}
}

// tempPrefix begins the name of a run's temporary folder; the process id comes next.
const tempPrefix = discover.Prefix

// tempDir makes the run's folder and removes those of runs that were killed and could not.
func tempDir() (string, error) {
	if old, err := filepath.Glob(filepath.Join(os.TempDir(), tempPrefix+"*")); err == nil {
		for _, dir := range old {
			pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), tempPrefix), "-")
			if n, err := strconv.Atoi(pid); err == nil && n > 0 && !alive(n) {
				_ = os.RemoveAll(dir)
			}
		}
	}
	dir, err := os.MkdirTemp("", tempPrefix+strconv.Itoa(os.Getpid())+"-")
	if err != nil {
		return "", fmt.Errorf("temporary folder for the services' programs: %w: set %s to a folder that you can write to", err, tempVariable)
	}
	return dir, nil
}

// tempVariable is where os.TempDir looks first.
var tempVariable = func() string {
	if runtime.GOOS == "windows" {
		return "TMP"
	}
	return "TMPDIR"
}()

// binary is the path of a built service.
func binary(dir, name string) string {
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return filepath.Join(dir, name)
}

// removeAll removes a folder. Windows may hold a program's file for a moment after its end.
func removeAll(dir string) error {
	deadline := time.Now().Add(5 * time.Second)
	for {
		err := os.RemoveAll(dir)
		if err == nil || runtime.GOOS != "windows" || time.Now().After(deadline) {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}
