package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/grafana-tempo-go-demo/demo/stack"
	"example.com/grafana-tempo-go-demo/demo/tempo"
)

// TestMain lets this test binary play the go command: a parent that starts a program and does not pass signals on.
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

// demo returns a command that runs the built demo in the repository, with a temporary folder of its own.
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
	for _, p := range parts() {
		args = append(args, "-"+p.name+"-addr=127.0.0.1:0")
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
	urls   stack.URLs
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
	// A pipe of our own: its end is the end of all who could write to it, also when cmd is not the demo itself.
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
	res := get(t, r.urls.Gateway+"/", "uservice3.localhost")
	id, err := traceID(res.Header.Get("traceresponse"))
	if err != nil {
		t.Fatalf("%s: %v\n%s", res.Status, err, r.stderr)
	}
	tr, whole, err := fetch(t.Context(), &tempo.Client{URL: r.urls.Tempo}, id, traceTimeout)
	if err != nil || !whole {
		t.Fatalf("trace %s: complete %v, %v", id, whole, err)
	}
	return tr
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

func TestUpUntilInterrupted(t *testing.T) {
	cmd, tmp := demo(t, append([]string{"up", "-json"}, anywhere()...)...)
	r := up(t, cmd, tmp)
	if n := len(r.uservice3(t).Spans); n != 7 {
		t.Errorf("%d spans", n)
	}
	if res := get(t, r.urls.Explorer+"/", ""); res.StatusCode != 200 {
		t.Errorf("explorer: %s", res.Status)
	}
	if res := get(t, r.urls.Tempo+"/ready", ""); res.StatusCode != 200 {
		t.Errorf("tempo: %s", res.Status)
	}
	if !strings.Contains(r.stderr.String(), "uservice3 | {") {
		t.Errorf("logs: %s", r.stderr)
	}
	_ = cmd.Process.Signal(os.Interrupt)
	r.wait(t)
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, r.stderr)
	}
	gone(t, tmp)
}

func TestServiceThatDiesMakesTheExitCodeOne(t *testing.T) {
	cmd, tmp := demo(t, append([]string{"-json"}, anywhere()...)...)
	r := up(t, cmd, tmp)
	for _, s := range r.uservice3(t).Spans {
		if pid, ok := s.Resource["process.pid"].(int64); ok && s.Service == "uservice4" {
			p, err := os.FindProcess(int(pid))
			if err == nil {
				err = p.Kill()
			}
			if err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	waitFor(t, "word of it", func() bool { return strings.Contains(r.stderr.String(), "uservice4 ended by itself (signal: killed)") })
	if res := get(t, r.urls.Gateway+"/", "uservice3.localhost"); res.StatusCode != http.StatusBadGateway {
		t.Errorf("uservice3 answers %s", res.Status)
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	r.wait(t)
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("%v\n%s", err, r.stderr)
	}
	gone(t, tmp)
}

func TestDeathOfTheParentStopsEverything(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		t.Run(sig.String(), func(t *testing.T) {
			child, tmp := demo(t, append([]string{"up", "-json"}, anywhere()...)...)
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			parent := exec.Command(self, child.Args...)
			parent.Env = append(child.Env, "DEMO_TEST_PARENT=1")
			r := up(t, parent, tmp)
			r.uservice3(t)
			_ = parent.Process.Signal(sig)
			r.wait(t)
			_ = parent.Wait()
			if !strings.Contains(r.stderr.String(), `"msg":"stopped"`) {
				t.Errorf("the services did not stop in order: %s", r.stderr)
			}
			gone(t, tmp)
		})
	}
}

func TestTourAsData(t *testing.T) {
	cmd, tmp := demo(t, append([]string{"tour", "-json", "-fail=database"}, fast...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	gone(t, tmp)
	var r tourReport
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if r.Plain.Status != 200 || r.Plain.DurationMS <= 0 || r.Plain.TraceResponse != "" {
		t.Errorf("plain: %+v", r.Plain)
	}
	if r.Instrumented.Status != 502 || !strings.Contains(r.Instrumented.TraceResponse, r.Trace.ID) {
		t.Errorf("instrumented: %+v", r.Instrumented)
	}
	var tree []string
	for _, s := range r.Trace.Spans {
		tree = append(tree, fmt.Sprintf("%s%s/%s %s", strings.Repeat(" ", s.Depth), s.Service, s.Name, s.Status))
	}
	want := `gateway/GET error
 gateway/ReverseProxy error
  uservice3/handle_incoming_call error
   uservice3/redis_call ok
   uservice3/other_uservice_call error
    uservice4/handle_incoming_call error
     uservice4/database_call error`
	if got := strings.Join(tree, "\n"); got != want || !r.Trace.Complete {
		t.Errorf("complete %v, got\n%s\nwant\n%s", r.Trace.Complete, got, want)
	}
}

func TestTourAsAStory(t *testing.T) {
	cmd, tmp := demo(t, append([]string{"tour"}, fast...)...)
	cmd.Env = append(cmd.Env, "COLUMNS=90", "LC_ALL=C.UTF-8")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	gone(t, tmp)
	for _, want := range []string{
		"1. uservice1", "-> 200 OK after", "traceresponse: 00-", "            └─ database_call      uservice4", "      ├─ redis_call", "What next:",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.ContainsRune(string(out), '\x1b') {
		t.Error("colours, though it is no terminal")
	}
}

func TestTakenAddressThatWasAskedForIsAnError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cmd, tmp := demo(t, append(append([]string{"up"}, anywhere()...), "-uservice2-addr="+l.Addr().String())...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), "uservice2 cannot listen on "+l.Addr().String()+": it is taken") {
		t.Errorf("%v: %s", err, out)
	}
	if strings.Contains(string(out), "building") {
		t.Errorf("it built first: %s", out)
	}
	gone(t, tmp)
}

func TestWrongUse(t *testing.T) {
	for _, tc := range []struct {
		name, args string
		code       int
		want       string
	}{
		{"a misspelled command", "upp", 2, `there is no command "upp"`},
		{"a misspelled flag", "up -jsn", 2, "flag provided but not defined: -jsn"},
		{"an argument too many", "tour now", 2, `unexpected argument "now"`},
		{"an address without port", "-gateway-addr 127.0.0.1", 2, "-gateway-addr: address"},
		{"bounds the wrong way round", "up -redis-max 1ms", 2, "-redis-min=100ms is more than -redis-max=1ms"},
		{"a negative bound", "tour -database-min -1s", 2, "-database-min=-1s is negative"},
		{"a dependency that there is not", "tour -fail disk", 2, "want redis or database"},
		{"a level that there is not", "up -log-level loud", 2, "loud"},
		{"help", "help", 0, "Usage: demo [command]"},
		{"help as a flag", "-help", 0, "tour"},
		{"help for a command", "up -help", 0, "-otlp-grpc-addr"},
		{"help for the tour", "tour -h", 0, "-slow"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), t.Context(), strings.Fields(tc.args), &stdout, &stderr)
			out := &stderr
			if tc.code == 0 {
				out = &stdout
			}
			if code != tc.code || !strings.Contains(out.String(), tc.want) || !strings.Contains(out.String(), "Usage: demo") {
				t.Errorf("exit code %d, printed %q and %q", code, &stdout, &stderr)
			}
			if n := strings.Count(out.String(), "Usage: demo"); n != 1 {
				t.Errorf("the usage stands there %d times", n)
			}
		})
	}
}

func TestTraceID(t *testing.T) {
	const id = "0af7651916cd43dd8448eb211c80319c"
	for header, want := range map[string]string{
		"00-" + id + "-b7ad6b7169203331-01": id, "": "", "00-" + id: "", "00-XX-b7ad6b7169203331-01": "",
		"00-" + strings.Repeat("z", 32) + "-b7ad6b7169203331-01": "",
	} {
		if got, err := traceID(header); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v", header, got, err)
		}
	}
}

func TestComplete(t *testing.T) {
	span := func(id, parent, kind string, answered bool) *tempo.Span {
		s := &tempo.Span{SpanID: id, ParentID: parent, Kind: kind, Attributes: map[string]any{}}
		if answered {
			s.Attributes["http.request.method"] = "GET"
			s.Attributes["http.response.status_code"] = int64(200)
		}
		return s
	}
	root, proxy, server := span("1", "", "server", true), span("2", "1", "client", true), span("3", "2", "server", true)
	redis, out := span("4", "3", "client", false), span("5", "3", "client", true)
	refused := span("5", "3", "client", false)
	refused.Attributes["http.request.method"] = "GET"
	for _, tc := range []struct {
		name  string
		spans []*tempo.Span
		want  bool
	}{
		{"no span", nil, false},
		{"no root", []*tempo.Span{proxy, server}, false},
		{"a parent is missing", []*tempo.Span{root, server}, false},
		{"the server of an answered call is missing", []*tempo.Span{root, proxy, server, redis, out}, false},
		{"a call that was refused has no server", []*tempo.Span{root, proxy, server, redis, refused}, true},
		{"a database has none either", []*tempo.Span{root, proxy, server, redis}, true},
		{"all there", []*tempo.Span{root, proxy, server, out, span("6", "5", "server", true)}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := complete(&tempo.Trace{Spans: tc.spans}); got != tc.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestTraceThatNeverComes(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"trace":{}}`) }))
	defer srv.Close()
	_, _, err := fetch(context.Background(), &tempo.Client{URL: srv.URL}, strings.Repeat("a", 32), 30*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "did not arrive within 30ms") {
		t.Errorf("%v", err)
	}
}

func TestASCIIOnly(t *testing.T) {
	for _, tc := range []struct {
		env  map[string]string
		want bool
	}{
		{map[string]string{"LANG": "de_DE.UTF-8"}, false},
		{map[string]string{"LANG": "en_US.utf8"}, false},
		{map[string]string{"LANG": "en_US.UTF-8", "LC_ALL": "C"}, true},
		{map[string]string{"LANG": "C", "LC_CTYPE": "UTF-8"}, false},
		{nil, runtime.GOOS != "windows"},
	} {
		if got := asciiOnly(func(name string) string { return tc.env[name] }); got != tc.want {
			t.Errorf("%v: got %v", tc.env, got)
		}
	}
}

func TestTailKeepsTheLastLines(t *testing.T) {
	var l tail
	for i := range 10 * maxTail {
		fmt.Fprintf(&l, "line %d\n", i)
	}
	var b strings.Builder
	l.dump(&b)
	if strings.Count(b.String(), "\n") != maxTail+1 || !strings.HasSuffix(b.String(), fmt.Sprintf("line %d\n", 10*maxTail-1)) {
		t.Errorf("%d lines", strings.Count(b.String(), "\n"))
	}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("no %s within 10 s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
