package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"example.com/grafana-tempo-go-demo/demo/discover"
	"example.com/grafana-tempo-go-demo/demo/header"
	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// TestMain lets this test binary play the go command: a parent that starts a program and does not
// pass signals on.
func TestMain(m *testing.M) {
	if os.Getenv("DEMO_TEST_PARENT") != "" {
		cmd := exec.Command(os.Args[1], os.Args[2:]...)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		return
	}
	code := m.Run()
	if builtDir != "" {
		_ = os.RemoveAll(builtDir)
	}
	os.Exit(code)
}

// builtDir is where built has put the binary; empty while it has not.
var builtDir string

// built returns the demo's binary, built once for all tests.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "demo-test-")
	if err != nil {
		return "", err
	}
	builtDir = dir
	path := filepath.Join(dir, "demo")
	out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

// demo returns a command that runs the built demo in the repository, with a temporary folder of its
// own.
func demo(t *testing.T, args ...string) (cmd *exec.Cmd, tmp string) {
	t.Helper()
	if testing.Short() {
		t.Skip("builds and runs the whole demo")
	}
	if runtime.GOOS == "windows" {
		t.Skip("signals of Unix are used")
	}
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	tmp = t.TempDir()
	cmd = exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp, "OTEL_TRACES_EXPORTER=none", "OTEL_SDK_DISABLED=true", "ADDR=nonsense")
	return cmd, tmp
}

// fast are the flags for mock calls that take no time.
var fast = []string{"-redis-min=0s", "-redis-max=0s", "-database-min=0s", "-database-max=0s"}

// anywhere are the flags for free ports.
func anywhere() []string {
	var args []string
	for _, p := range topology.Parts() {
		args = append(args, "-"+p.Name+"-addr=127.0.0.1:0")
	}
	return append(args, fast...)
}

// gone checks that a run has left no file and no process.
func gone(t *testing.T, tmp string) {
	t.Helper()
	var left []string
	_ = filepath.WalkDir(tmp, func(path string, _ fs.DirEntry, _ error) error {
		if path != tmp {
			left = append(left, path)
		}
		return nil
	})
	if len(left) > 0 {
		t.Errorf("files left behind: %v", left)
	}
	processes, _ := filepath.Glob("/proc/[0-9]*/cmdline") // there is none but on Linux
	for _, p := range processes {
		if line, err := os.ReadFile(p); err == nil && bytes.HasPrefix(line, []byte(tmp)) {
			t.Errorf("process left behind: %s %q", p, line)
		}
	}
}

// running is a `demo up -json` that is ready.
type running struct {
	cmd    *exec.Cmd
	urls   discover.URLs
	stdout io.ReadCloser
	stderr *lockedBuffer
	tmp    string
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

// up starts a command that ends up being `demo up -json`.
func up(t *testing.T, cmd *exec.Cmd, tmp string) *running {
	t.Helper()
	r := &running{cmd: cmd, stderr: &lockedBuffer{}, tmp: tmp}
	cmd.Stderr = r.stderr
	// A pipe of our own: its end is the end of all who could write to it, also when cmd is not the
	// demo itself.
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = in
	r.stdout = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	t.Cleanup(func() { _ = cmd.Process.Kill(); out.Close() })
	if err := json.NewDecoder(out).Decode(&r.urls); err != nil {
		t.Fatalf("no line of JSON: %v\n%s", err, r.stderr)
	}
	return r
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
	client := &tempo.Client{URL: r.urls.Tempo}
	var trace *tempo.Trace
	waitFor(t, "complete trace "+id, func() bool {
		var err error
		trace, err = client.Trace(t.Context(), id)
		return err == nil && trace.Complete()
	})
	return trace
}

// traceID is the trace id that an answer names.
func traceID(t *testing.T, res *http.Response) string {
	t.Helper()
	h := header.Decode("traceresponse", res.Header.Get("traceresponse"))
	if !h.Valid {
		t.Fatalf("%s: traceresponse %q %s", res.Status, h.Value, h.Problem)
	}
	return h.TraceID
}

// localClient asks parts on this machine, whatever HTTP_PROXY says.
var localClient = &http.Client{Transport: &http.Transport{}, Timeout: 30 * time.Second}

// runHere runs a command in this process.
func runHere(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer, args ...string) (code int) {
	return run(session{ctx, ctx, stdin, stdout, stderr}, args)
}

// wait waits for the end of everything that writes to standard output.
func (r *running) wait(t *testing.T) {
	t.Helper()
	done := make(chan struct{})
	go func() { _, _ = io.Copy(io.Discard, r.stdout); close(done) }()
	select {
	case <-done:
	case <-time.After(40 * time.Second):
		t.Fatalf("it does not end\n%s", r.stderr)
	}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("no %s within 15 s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
