// Package services turns the source of the four services into programs that run on this machine: it
// finds the repository, builds them, and knows the environment in which they run.
package services

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"example.com/grafana-tempo-go-demo/demo/discover"
	"example.com/grafana-tempo-go-demo/demo/process"
	"example.com/grafana-tempo-go-demo/demo/term"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// FindRoot returns the repository's root: dir or the nearest folder above it that has a go.work and
// a folder for each service.
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
			return "", fmt.Errorf("%s is not inside the demo's repository: neither there nor above is a folder "+
				"with a go.work and uservice1 to uservice4; run this from a clone of it", start)
		}
	}
}

func isRoot(dir string) bool {
	if st, err := os.Stat(filepath.Join(dir, "go.work")); err != nil || st.IsDir() {
		return false
	}
	for _, s := range topology.Services() {
		if st, err := os.Stat(filepath.Join(dir, s.Name)); err != nil || !st.IsDir() {
			return false
		}
	}
	return true
}

// Build compiles the four services of the repository at root into dir, which must exist. Progress
// goes to out: on a terminal one line that rewrites itself, elsewhere a line every ten seconds. The
// error has what the compiler says.
func Build(ctx context.Context, root, dir string, out io.Writer) error {
	gocmd, err := exec.LookPath("go")
	if err != nil {
		return errors.New("cannot find the go command, which builds the services: " +
			"install Go from https://go.dev/dl/ and see that `go version` works")
	}
	// With several packages, -o has to name a folder that exists. There is no -trimpath, unlike in
	// the Dockerfiles: with it, nothing that `go run ./demo` has just compiled could be used again,
	// and the very first start would take twice as long (50 s instead of 27 s, measured on two
	// cores).
	args := []string{"build", "-v", "-buildvcs=false", "-ldflags", "-s -w", "-o", dir + string(filepath.Separator)}
	for _, s := range topology.Services() {
		args = append(args, "./"+s.Name)
	}
	tmp, err := os.MkdirTemp(dir, "go-")
	if err != nil {
		return fmt.Errorf("build: %w", err)
	}
	defer os.RemoveAll(tmp)

	cmd := exec.CommandContext(ctx, gocmd, args...)
	cmd.Dir = root
	// What the shell sets for other work must not make these binaries unfit for this machine, or
	// this folder no workspace. The compiler's temporary files go where ours are, to be removed
	// with them.
	cmd.Env = append(os.Environ(), "GOWORK="+filepath.Join(root, "go.work"), "GOOS="+runtime.GOOS,
		"GOARCH="+runtime.GOARCH, "GOTMPDIR="+tmp, "PWD="+root)
	cmd.WaitDelay = 10 * time.Second
	p := &progress{start: time.Now()}
	lines := &process.Lines{Emit: p.line}
	cmd.Stdout, cmd.Stderr = lines, lines

	live := term.Colours(out)
	if !live {
		fmt.Fprintln(out, "building the four services (the first time takes longer)")
	}
	stop := term.Progress(out, live, 10*time.Second, p.text)
	starter := process.NewStarter()
	defer starter.Close()
	err = starter.Run(cmd)
	lines.Flush()
	stop()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("build the services: %w\n%s", err, strings.Join(p.complaints, "\n"))
	}
	fmt.Fprintf(out, "built the four services in %.1f s\n", time.Since(p.start).Seconds())
	return nil
}

// progress follows a build. `go build -v` names each package that it compiles on a line of its own.
// The error keeps all other lines except downloads.
type progress struct {
	start time.Time

	mu         sync.Mutex
	packages   int
	current    string
	complaints []string
}

func (p *progress) line(line []byte) {
	text := strings.TrimRight(string(line), "\r")
	p.mu.Lock()
	defer p.mu.Unlock()
	if rest, ok := strings.CutPrefix(text, "go: downloading "); ok {
		p.current = "downloading " + rest
	} else if text != "" && !strings.ContainsAny(text, " \t:") {
		p.packages++
		p.current = text
	} else if len(p.complaints) < 100 {
		p.complaints = append(p.complaints, text)
	}
}

func (p *progress) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := fmt.Sprintf("building the four services: %s", time.Since(p.start).Round(time.Second))
	if p.packages > 0 {
		text += ", " + strconv.Itoa(p.packages) + " packages"
	}
	if p.current != "" {
		text += ", " + p.current
	}
	return text
}

// Program is the path of a service that Build has put into dir.
func Program(dir, service string) string {
	if runtime.GOOS == "windows" {
		service += ".exe"
	}
	return filepath.Join(dir, service)
}

// TempDir makes a folder for this process, named so that the doctor finds it, and removes those of
// runs that were killed and could not.
func TempDir() (string, error) {
	if old, err := filepath.Glob(filepath.Join(os.TempDir(), discover.Prefix+"*")); err == nil {
		for _, dir := range old {
			pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), discover.Prefix), "-")
			if n, err := strconv.Atoi(pid); err == nil && n > 0 && !process.Alive(n) {
				_ = os.RemoveAll(dir)
			}
		}
	}
	dir, err := os.MkdirTemp("", discover.Prefix+strconv.Itoa(os.Getpid())+"-")
	if err != nil {
		variable := "TMPDIR" // where os.TempDir looks first
		if runtime.GOOS == "windows" {
			variable = "TMP"
		}
		return "", fmt.Errorf("temporary folder for the services' programs: %w: "+
			"set %s to a folder that you can write to", err, variable)
	}
	return dir, nil
}

// RemoveAll removes a folder. Windows may hold a program's file for a moment after its end.
func RemoveAll(dir string) error {
	deadline := time.Now().Add(5 * time.Second)
	for {
		err := os.RemoveAll(dir)
		if err == nil || runtime.GOOS != "windows" || time.Now().After(deadline) {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}
