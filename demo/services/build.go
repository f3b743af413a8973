// Package services turns the source of the four services into programs that run on this machine: it
// finds the repository, builds them, and knows the environment in which they run.
package services

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"example.com/grafana-tempo-go-demo/demo/discover"
	"example.com/grafana-tempo-go-demo/demo/process"
	"example.com/grafana-tempo-go-demo/demo/term"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// findRoot returns the working folder or the nearest above it with a go.work and the services.
func findRoot() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	for root := start; ; root = filepath.Dir(root) {
		_, err := os.Stat(filepath.Join(root, "go.work"))
		found, _ := fs.Glob(os.DirFS(root), "uservice[1-4]")
		if err == nil && len(found) == 4 {
			return root, nil
		}
		if root == filepath.Dir(root) {
			return "", fmt.Errorf("%s is not inside the demo's repository: neither there nor above is a folder "+
				"with a go.work and uservice1 to uservice4; run this from a clone of it", start)
		}
	}
}

// uncomplaining are the lines of `go build -v` that are no complaints: packages, and downloads.
var uncomplaining = regexp.MustCompile(`^([^\s:]*|go: downloading .*)\r?$`)

// Build compiles the services of the repository in which the working folder is into a new temporary
// folder. Progress goes to out, every ten seconds or rewriting itself. The error has what the
// compiler says.
func Build(ctx context.Context, out io.Writer) (bin string, err error) {
	root, err := findRoot()
	if err != nil {
		return "", err
	}
	if bin, err = tempDir(); err != nil {
		return "", err
	}
	if err := build(ctx, root, bin, out); err != nil {
		return "", errors.Join(err, RemoveAll(bin))
	}
	return bin, nil
}

func build(ctx context.Context, root, dir string, out io.Writer) error {
	gocmd, err := exec.LookPath("go")
	if err != nil {
		return errors.New("cannot find the go command, which builds the services: " +
			"install Go from https://go.dev/dl/ and see that `go version` works")
	}
	// With several packages, -o has to name a folder that exists. The Dockerfiles have -trimpath:
	// here it would make all that `go run ./demo` has just compiled useless, and the very first
	// start take twice as long (50 s instead of 27 s, measured on two cores).
	args := []string{"build", "-mod=readonly", "-v", "-buildvcs=false", "-ldflags", "-s -w", "-o", dir + string(filepath.Separator)}
	for _, s := range topology.Services() {
		args = append(args, "./"+s.Name)
	}
	slices.Sort(args[len(args)-4:]) // links the quick pair first: 0.2 s sooner, measured on two cores
	var complaints []string
	var last atomic.Value // the latest line, which names a package or a download
	last.Store("")

	live := term.Colours(out)
	if !live {
		fmt.Fprintln(out, "building the four services (the first time takes longer)")
	}
	begin := time.Now()
	stop := term.Progress(out, live, 10*time.Second, func() string {
		return fmt.Sprintf("building the four services: %s%s", time.Since(begin).Round(time.Second), last.Load())
	})
	p, err := process.Start(process.Options{
		Name: "go build", Path: gocmd, Args: args, Dir: root,
		// What the shell sets for other work must not make these binaries unfit for this machine, or
		// this folder no workspace. The compiler's temporary files are removed with ours.
		Env: append(os.Environ(), "PWD="+root, "GOWORK="+filepath.Join(root, "go.work"), "GOOS="+runtime.GOOS,
			"GOARCH="+runtime.GOARCH, "GOTMPDIR="+dir),
		Stderr: func(line []byte) {
			last.Store(", " + string(line))
			if !uncomplaining.Match(line) {
				complaints = append(complaints, string(line))
			}
		},
	})
	if err == nil {
		select {
		case <-p.Done():
		case <-ctx.Done():
			_ = p.Stop(context.Background())
		}
	}
	stop()
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case !p.Succeeded():
		return fmt.Errorf("build the services: %s", cmp.Or(strings.Join(complaints, "\n"), p.How()))
	}
	fmt.Fprintf(out, "built the four services in %.1f s\n", time.Since(begin).Seconds())
	return nil
}

// Program is the path of a service that Build has put into dir.
func Program(dir, service string) string {
	if runtime.GOOS == "windows" {
		service += ".exe"
	}
	return filepath.Join(dir, service)
}

// tempDir makes a folder that the doctor finds, and removes those of runs that were killed.
func tempDir() (string, error) {
	for dir, pid := range discover.Folders(os.TempDir()) {
		if !process.Alive(pid) {
			_ = os.RemoveAll(dir)
		}
	}
	dir, err := os.MkdirTemp("", discover.Prefix+strconv.Itoa(os.Getpid())+"-")
	if err != nil {
		return "", fmt.Errorf("temporary folder for the services' programs: %w: "+
			"set %s to a folder that you can write to", err, process.TempVariable)
	}
	return dir, nil
}

// RemoveAll removes a folder, unless it is "". Windows holds an ended program's file for a moment.
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
