// Package services turns the source of the four services into programs that run on this machine, and
// knows the environment in which they run.
package services

import (
	"bytes"
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
	"time"

	"example.com/grafana-tempo-go-demo/demo/discover"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// Build compiles the services into a new temporary folder, which the doctor finds. The working folder
// must be in a clone of the repository. What is under way is said on out. The error has what the
// compiler says.
func Build(ctx context.Context, out io.Writer) (bin string, err error) {
	bin, err = os.MkdirTemp("", discover.Prefix+strconv.Itoa(os.Getpid())+"-")
	if err != nil {
		return "", fmt.Errorf("temporary folder for the services' programs: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, RemoveAll(bin))
		}
	}()
	// With several packages, -o has to name a folder that exists. The Dockerfiles have -trimpath:
	// here it would make all that `go run ./demo` has just compiled useless, and the very first
	// start take twice as long (50 s instead of 27 s, measured on two cores).
	args := []string{"build", "-mod=readonly", "-buildvcs=false", "-ldflags", "-s -w", "-o", bin + string(filepath.Separator)}
	for _, s := range topology.Services() {
		args = append(args, "example.com/grafana-tempo-go-demo/"+s.Name)
	}
	slices.Sort(args[len(args)-4:]) // links the quick pair first: 0.2 s sooner, measured on two cores
	cmd := exec.CommandContext(ctx, "go", args...)
	// The services are found through go.work, whatever the shell says. The compiler's temporary files are
	// removed with ours.
	cmd.Env = append(os.Environ(), "GOWORK=", "GOTMPDIR="+bin)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second

	fmt.Fprintln(out, "building the four services (the first time it can take a minute)")
	begin := time.Now()
	complaints, err := cmd.CombinedOutput()
	switch {
	case ctx.Err() != nil:
		return bin, context.Cause(ctx)
	case err != nil:
		return bin, fmt.Errorf("build the services of the repository around the working folder: %w\n%s", err, bytes.TrimSpace(complaints))
	}
	fmt.Fprintf(out, "built the four services in %.1f s\n", time.Since(begin).Seconds())
	return bin, nil
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
