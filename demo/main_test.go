package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"example.com/grafana-tempo-go-demo/demo/term"
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

	"example.com/grafana-tempo-go-demo/demo/discover"
	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/demo/topology"
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
	for _, l := range []struct {
		who  string
		got  *ledger.Request
		want string
	}{
		{"uservice1", r.Ledger.Plain, "gateway started, uservice1 dropped; untied uservice2"},
		{"uservice3", r.Ledger.Instrumented, "gateway started, uservice3 continued, uservice4 continued"},
	} {
		if l.got == nil {
			t.Errorf("the call of %s is not in the ledger", l.who)
			continue
		}
		var hops []string
		for _, h := range l.got.Hops {
			hops = append(hops, h.To+" "+string(h.Action))
		}
		got := strings.Join(hops, ", ")
		for _, h := range l.got.Untied {
			got += "; untied " + h.To
		}
		if got != l.want {
			t.Errorf("the ledger of %s is %s, want %s", l.who, got, l.want)
		}
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
		"1. uservice1", "-> 200 OK after", "traceresponse: 00-", "            └─ database_call      uservice4", "      ├─ redis_call",
		"uservice1  uber-trace-id", "dropped", "uservice3 -> uservice4  uber-trace-id", "One trace, from gateway to uservice4.", "What next:",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.ContainsRune(string(out), '\x1b') {
		t.Error("colours, though it is no terminal")
	}
}

func TestUpWithAFaultAndItsLogAsALedger(t *testing.T) {
	cmd, tmp := demo(t, append([]string{"up", "-json", "-break=other-format"}, anywhere()...)...)
	r := up(t, cmd, tmp)
	res := get(t, r.urls.Gateway+"/", "uservice3.localhost")
	id, err := traceID(res.Header.Get("traceresponse"))
	if err != nil {
		t.Fatal(err)
	}
	var answer ledger.Answer
	waitFor(t, "entry in the ledger", func() bool {
		res, err := localClient.Get(r.urls.Explorer + "/api/ledger?trace=" + id)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return json.NewDecoder(res.Body).Decode(&answer) == nil && len(answer.Requests) == 1 && len(answer.Requests[0].Hops) == 3
	})
	if hop := answer.Requests[0].Hops[2]; hop.To != "uservice4" || hop.Action != ledger.IgnoredFormat {
		t.Errorf("%+v", hop)
	}
	faults := func() string {
		res, err := localClient.Get(r.urls.Explorer + "/api/faults")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return string(b)
	}
	if got := faults(); !strings.Contains(got, `"active":"other-format"`) {
		t.Error(got)
	}
	res, err = localClient.Post(r.urls.Explorer+"/api/faults", "application/json", strings.NewReader(`{"name":""}`))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if got := faults(); res.StatusCode != 200 || !strings.Contains(got, `"active":""`) {
		t.Errorf("mended: %s %s", res.Status, got)
	}
	if n := len(r.uservice3(t).Spans); n != 7 {
		t.Errorf("%d spans when it is mended", n)
	}
	_ = cmd.Process.Signal(os.Interrupt)
	r.wait(t)
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, r.stderr)
	}
	gone(t, tmp)
	if !strings.Contains(r.stderr.String(), "broken on purpose (other-format): uservice4 speaks another propagation format.") {
		t.Errorf("what is broken is not told: %s", r.stderr)
	}

	// The run's own log, read as one of compose would be, tells the same.
	var stdout, stderr bytes.Buffer
	err = readLedger(t.Context(), []string{"-json", "-trace", strings.TrimLeft(id, "0")}, strings.NewReader(r.stderr.String()), &stdout, &stderr)
	var fromLog ledger.Answer
	if err != nil || json.Unmarshal(stdout.Bytes(), &fromLog) != nil || len(fromLog.Requests) != 1 {
		t.Fatalf("%v: %s%s", err, &stdout, &stderr)
	}
	if a, b := outline(fromLog.Requests[0]), outline(answer.Requests[0]); a != b {
		t.Errorf("from the log\n%s\nfrom the running demo\n%s", a, b)
	}
}

// outline writes what a request's hops say.
func outline(r ledger.Request) string {
	text := string(r.Outcome) + " " + r.Summary
	for _, h := range r.Hops {
		text += fmt.Sprintf("\n%s -> %s: %s %s", h.From, h.To, h.Action, h.Says)
		for _, side := range []ledger.Side{h.Left, h.Arrived} {
			for _, header := range side.Headers {
				text += " " + string(side.Source) + " " + header.Value
			}
		}
	}
	return text
}

func TestLedgerOfAFollowedLogEndsWithCtrlC(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	defer in.Close()
	go func() {
		fmt.Fprintln(in, `uservice2 | {"time":"2026-11-21T01:00:00Z","msg":"request","method":"GET","path":"/","headers":{}}`)
		fmt.Fprintln(in) // taken only when the line before has been read
		cancel()
	}()
	var stdout, stderr bytes.Buffer
	if err := readLedger(ctx, nil, out, &stdout, &stderr); err != nil || !strings.Contains(stdout.String(), "client -> uservice2") {
		t.Errorf("%v: %s%s", err, &stdout, &stderr)
	}
}

func TestExplorerAlone(t *testing.T) {
	tempoAPI := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ready") }))
	defer tempoAPI.Close()
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := "http://" + nobody.Addr().String()
	nobody.Close()
	for _, tc := range []struct {
		name           string
		tempo, gateway string
		said           []string
	}{
		{"both are there", tempoAPI.URL, tempoAPI.URL, nil},
		{"neither is there", dead, dead, []string{"-tempo: no trace back end answers at " + dead, "-gateway: no proxy answers at " + dead, "the page starts all the same"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			out, in := io.Pipe()
			var stderr lockedBuffer
			done := make(chan error, 1)
			go func() {
				done <- runExplorer(ctx, ctx, []string{"-tempo", tc.tempo, "-gateway", tc.gateway, "-addr", "127.0.0.1:0"}, in, &stderr)
				in.Close()
			}()
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil {
				t.Fatalf("%v\n%s", err, &stderr)
			}
			page := strings.Fields(line)[1]
			if res := get(t, page+"/", ""); res.StatusCode != 200 {
				t.Errorf("the page: %s", res.Status)
			}
			if res := get(t, page+"/api/ledger", ""); res.StatusCode != 404 {
				t.Errorf("the ledger, which is not here: %s", res.Status)
			}
			for _, want := range tc.said {
				if !strings.Contains(stderr.String(), want) {
					t.Errorf("it does not say %q: %s", want, &stderr)
				}
			}
			if tc.said == nil && stderr.String() != "" {
				t.Errorf("it says %s", &stderr)
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
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
		{"a fault that there is not", "up -break drop-haeder", 2, "want drop-header, malformed-header, not-sampled,"},
		{"formats of nobody", "up -propagators jaeger", 2, "want part=list"},
		{"a Tempo without a scheme", "explorer -tempo localhost:3200", 2, "want a URL such as http://localhost:3200"},
		{"a page's address without port", "explorer -addr localhost", 2, "-addr: address"},
		{"a ledger of nothing", "ledger -limit 0", 2, "-limit=0: want 1 or more"},
		{"help that lists the faults", "up -h", 0, "killed-before-flush  uservice4 is killed"},
		{"help for the ledger", "ledger -help", 0, "docker compose logs"},
		{"help for the explorer", "explorer -help", 0, "http://localhost:3200"},
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
		if got := term.ASCIIOnly(func(name string) string { return tc.env[name] }); got != tc.want {
			t.Errorf("%v: got %v", tc.env, got)
		}
	}
}

func TestWrap(t *testing.T) {
	if got, want := wrap("one two  three\nlonger-than-that x", 7), "one two\nthree\nlonger-than-that\nx\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
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
