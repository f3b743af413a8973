package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/services"
	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// TestMain lets this test binary play a service when it is called by the name of one: what the
// stack does with processes is tested without building any.
func TestMain(m *testing.M) {
	if name := filepath.Base(os.Args[0]); strings.HasPrefix(name, "uservice") {
		os.Exit(fakeService(name))
	}
	code := m.Run()
	if builtDir != "" {
		_ = os.RemoveAll(builtDir)
	}
	os.Exit(code)
}

// fakeService listens, says so, and ends when it is told to, unless FAKE (<service>=<way>) has it
// misbehave.
func fakeService(name string) int {
	way := ""
	if who, how, _ := strings.Cut(os.Getenv("FAKE"), "="); who == name {
		way = how
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	if way == "die early" || way == "die with tracecontext" && os.Getenv("OTEL_PROPAGATORS") == "tracecontext" {
		fmt.Fprintln(os.Stderr, "cannot go on")
		return 3
	}
	l, err := net.Listen("tcp", os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s trace=%s env=%s", name, r.Header.Get("Uber-Trace-Id"), strings.Join(os.Environ(), " "))
	}))
	log := slog.New(slog.NewJSONHandler(os.Stdout, nil))
	if host := os.Getenv("OTEL_EXPORTER_PROMETHEUS_HOST"); host != "" {
		metrics, err := net.Listen("tcp", net.JoinHostPort(host, os.Getenv("OTEL_EXPORTER_PROMETHEUS_PORT")))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		log.Info("serving metrics", "addr", metrics.Addr().String())
	}
	log.Info("listening", "addr", l.Addr().String())
	for range stop {
		switch way {
		case "ignore":
		case "end badly":
			fmt.Fprintln(os.Stderr, "lost something")
			return 4
		default:
			return 0
		}
	}
	return 0
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

// options are those of a stack of fake services on free ports.
func options(t *testing.T, fake string) (Options, *lockedBuffer, *lockedBuffer) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("links and signals of Unix are used")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	for _, s := range topology.Services() {
		if err := os.Symlink(self, filepath.Join(bin, s.Name)); err != nil {
			t.Fatal(err)
		}
	}
	var logs, messages lockedBuffer
	return Options{
		Bin: bin, Addrs: AnyAddrs(),
		// A program that was built with -race stays for a second at its end, to report.
		Env: map[string]string{"FAKE": fake, "GORACE": "atexit_sleep_ms=0"}, Logs: &logs, Messages: &messages,
	}, &logs, &messages
}

func start(t *testing.T, o Options) *Stack {
	t.Helper()
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop(context.Background()) })
	return s
}

// waitFor waits until ok, for ten seconds at most.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	if !soon(ok) {
		t.Fatalf("no %s within 10 s", what)
	}
}

// soon calls ok until it is true, which it returns, or ten seconds have passed.
func soon(ok func() bool) bool {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return true
		}
	}
	return ok()
}

// answer is what came back, with its whole page.
type answer struct {
	*http.Response
	page string
}

// ask asks for a service through the gateway; the answer must be 200.
func (s *Stack) ask(t *testing.T, service string) answer {
	t.Helper()
	return get(t, s.URLs().Gateway, service+".localhost")
}

// get asks a server for its page by a host name; the answer must be 200.
func get(t *testing.T, url, host string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Error(err)
		return answer{Response: &http.Response{Header: http.Header{}}}
	}
	defer res.Body.Close()
	page, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("%s answered %s, %v", host, res.Status, err)
	}
	return answer{res, string(page)}
}

// isGone checks that nobody listens any more.
func (s *Stack) isGone(t *testing.T) {
	t.Helper()
	u := s.URLs()
	for _, url := range append(slices.Collect(maps.Values(u.Services)), u.Gateway, u.Explorer, u.Tempo, u.OTLPGRPC, u.OTLPHTTP) {
		if conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://")); err == nil {
			conn.Close()
			t.Errorf("%s still answers", url)
		}
	}
}

// builtDir is where built has put the services; empty while it has not.
var builtDir string

// built returns a folder with the real services, built once for all tests.
var built = sync.OnceValues(func() (bin string, err error) {
	builtDir, err = services.Build(context.Background(), io.Discard)
	return builtDir, err
})

// startReal starts the real services on free ports, with mock calls that take no time.
func startReal(t *testing.T, change ...func(*Options)) (*Stack, *lockedBuffer) {
	t.Helper()
	if testing.Short() {
		t.Skip("builds and runs the real services")
	}
	bin, err := built()
	if err != nil {
		t.Fatal(err)
	}
	o, logs, _ := options(t, "")
	o.Bin = bin
	o.Env = map[string]string{"REDIS_MIN": "0s", "REDIS_MAX": "0s", "DATABASE_MIN": "0s", "DATABASE_MAX": "0s"}
	for _, f := range change {
		f(&o)
	}
	return start(t, o), logs
}

// shape writes what arrived of a trace as a tree, one span a line.
func (s *Stack) shape(ctx context.Context, id string) string {
	tr, err := (&tempo.Client{URL: s.URLs().Tempo}).Trace(ctx, id)
	if errors.Is(err, tempo.ErrNotFound) {
		return ""
	}
	if err != nil {
		return err.Error()
	}
	var lines []string
	var walk func(span *tempo.Span, indent string)
	walk = func(span *tempo.Span, indent string) {
		lines = append(lines, indent+span.Service+" "+span.Name)
		for _, child := range span.Children {
			walk(child, indent+" ")
		}
	}
	for _, root := range tr.Roots() {
		walk(root, "")
	}
	return strings.Join(lines, "\n")
}

// hops writes a request of the ledger, one hop a line.
func hops(r ledger.Request) string {
	var lines []string
	for _, h := range r.Hops {
		carried := "-"
		if len(h.Arrived) > 0 {
			carried = h.Arrived[0].Name
			if sampled := h.Arrived[0].Sampled; sampled != nil && !*sampled {
				carried += " unsampled"
			}
		}
		lines = append(lines, fmt.Sprintf("%s -> %s: %s %s", h.From, h.To, carried, h.Action))
	}
	return strings.Join(append(lines, string(r.Outcome)), "\n")
}

// startedAgain returns the names of the services that say that they listen, sorted.
func startedAgain(logs string) []string {
	var again []string
	for line := range strings.Lines(logs) {
		if strings.Contains(line, `"msg":"listening"`) {
			again = append(again, strings.Fields(line)[0])
		}
	}
	slices.Sort(again)
	return again
}
