package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/grafana-tempo-go-demo/demo/discover"
	"example.com/grafana-tempo-go-demo/demo/header"
	"example.com/grafana-tempo-go-demo/demo/services"
	"example.com/grafana-tempo-go-demo/demo/story"
	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// TestMain lets this test binary be the demo, or play the go command: a parent that starts a program
// and does not pass signals on.
func TestMain(m *testing.M) {
	switch os.Getenv("DEMO_TEST") {
	case "demo":
		commands = append(commands, command{name: "hang", declare: func(*flag.FlagSet) action {
			return func(s session) error { fmt.Fprintln(s.stdout, "{}"); select {} }
		}})
		os.Exit(start(os.Getenv("DEMO_TEST_BIN")))
	case "parent":
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP) // under nohup, what it starts would outlive it
		cmd := exec.Command(os.Args[0], os.Args[1:]...)
		cmd.Env = append(os.Environ(), "DEMO_TEST=demo")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		_ = cmd.Run()
		return
	}
	for _, bound := range []string{"REDIS_MIN", "REDIS_MAX", "DATABASE_MIN", "DATABASE_MAX"} {
		_ = os.Setenv(bound, "0s") // mock calls take no time
	}
	code := m.Run()
	_ = services.RemoveAll(bin)
	os.Exit(code)
}

// bin is where built has put the services' programs; empty while it has not.
var bin string

// built has the services' programs, built once for all tests.
var built = sync.OnceValue(func() (err error) {
	bin, err = services.Build(context.Background(), io.Discard)
	return err
})

// programs returns the folder with the services' programs.
func programs(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("builds and runs the services")
	}
	if err := built(); err != nil {
		t.Fatal(err)
	}
	return bin
}

// gone checks that no program of dir still runs.
func gone(t *testing.T, dir string) {
	t.Helper()
	processes, _ := filepath.Glob("/proc/[0-9]*/cmdline") // there is none but on Linux
	for _, p := range processes {
		if line, err := os.ReadFile(p); err == nil && bytes.HasPrefix(line, []byte(dir+"/")) {
			t.Errorf("process left behind: %s %q", p, line)
		}
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// runHere runs a command in this process.
func runHere(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer, args ...string) (code int) {
	return run(session{ctx: ctx, kill: context.Background(), stdin: stdin, stdout: stdout, stderr: stderr, bin: bin}, args)
}

// running is a `demo up -json` that is ready.
type running struct {
	urls   discover.URLs
	stderr lockedBuffer
	stop   func() (code int) // as Ctrl-C does
}

// anywhere are the arguments of `demo up -json` on free ports.
func anywhere(more ...string) []string {
	args := []string{"up", "-json"}
	for _, p := range topology.Parts() {
		args = append(args, "-"+p.Name+"-addr=127.0.0.1:0")
	}
	return append(args, more...)
}

// up runs the demo in this process until it is ready.
func up(t *testing.T, more ...string) *running {
	t.Helper()
	var r running
	ctx, cancel := context.WithCancelCause(t.Context())
	stdout, in := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- runHere(ctx, nil, in, &r.stderr, anywhere(more...)...)
		in.Close()
	}()
	r.stop = sync.OnceValue(func() int {
		cancel(errors.New("interrupted"))
		return <-ended
	})
	t.Cleanup(func() { r.stop() })
	if err := json.NewDecoder(stdout).Decode(&r.urls); err != nil {
		t.Fatalf("no line of JSON: %v\n%s", err, &r.stderr)
	}
	return &r
}

// child is the demo as a program of its own.
func child(t *testing.T, as string, args ...string) (cmd *exec.Cmd, stdout *os.File, stderr *lockedBuffer) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("signals of Unix are used")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// A pipe of our own: its end is the end of all who could write to it, also when cmd is not the
	// demo itself.
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	cmd, stderr = exec.Command(self, args...), &lockedBuffer{}
	cmd.Env = append(os.Environ(), "DEMO_TEST="+as, "DEMO_TEST_BIN="+bin)
	cmd.Stdout, cmd.Stderr = in, stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); out.Close() })
	return cmd, out, stderr
}

func get(t *testing.T, url, host string) *http.Response {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	res, err := localClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	res.Body.Close()
	return res
}

// uservice3 asks for the instrumented page and returns the complete trace of that.
func (r *running) uservice3(t *testing.T) *tempo.Trace {
	t.Helper()
	id := traceID(t, get(t, r.urls.Gateway+"/", "uservice3.localhost"))
	var trace *tempo.Trace
	waitFor(t, "complete trace "+id, func() bool {
		var err error
		trace, err = (&tempo.Client{URL: r.urls.Tempo}).Trace(t.Context(), id)
		return err == nil && story.Tell(trace, story.Options{}).Complete()
	})
	return trace
}

// traceID is the trace id that an answer names.
func traceID(t *testing.T, res *http.Response) string {
	t.Helper()
	h := header.Decode("traceresponse", res.Header.Get("traceresponse"))
	if h.TraceID == "" {
		t.Fatalf("%s: traceresponse %q %s", res.Status, h.Value, h.Problem)
	}
	return h.TraceID
}

// localClient asks parts on this machine, whatever HTTP_PROXY says.
var localClient = &http.Client{Transport: &http.Transport{}, Timeout: 30 * time.Second}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("no %s within 15 s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
