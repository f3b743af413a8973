package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/grafana-tempo-go-demo/demo/tempo"
)

// TestMain lets this test binary play a service when it is called by the name of one: what the stack does with processes
// is tested without building any.
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

// fakeService listens, says so, and ends when it is told to, unless FAKE (<service>=<way>) has it misbehave.
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
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s trace=%s env=%s", name, r.Header.Get("Uber-Trace-Id"), strings.Join(os.Environ(), " "))
	})
	mux.HandleFunc("/die", func(http.ResponseWriter, *http.Request) { os.Exit(7) })
	go http.Serve(l, mux)
	slog.New(slog.NewJSONHandler(os.Stdout, nil)).Info("listening", "addr", l.Addr().String())
	if way == "die soon" {
		time.AfterFunc(50*time.Millisecond, func() { os.Exit(7) })
	}
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
	addrs := map[string]Addr{}
	for _, s := range Services() {
		if err := os.Symlink(self, filepath.Join(bin, s.Name)); err != nil {
			t.Fatal(err)
		}
		addrs[s.Name] = Any
	}
	var logs, messages lockedBuffer
	return Options{
		Bin: bin, Gateway: Any, Explorer: Any, Tempo: Any, OTLPGRPC: Any, OTLPHTTP: Any, Addrs: addrs,
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

func get(t *testing.T, url, host string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var b bytes.Buffer
	_, _ = b.ReadFrom(res.Body)
	return res.StatusCode, b.String()
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

// refused tells that nobody listens any more.
func refused(url string) bool {
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err == nil {
		conn.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

func TestStackRunsAndLeavesNothing(t *testing.T) {
	t.Setenv("OTEL_SDK_DISABLED", "true") // of the shell, not for the services
	o, logs, _ := options(t, "")
	var mu sync.Mutex
	seen := map[string]string{}
	o.Observe = func(service string, line []byte) {
		mu.Lock()
		defer mu.Unlock()
		seen[service] += string(line)
	}
	s := start(t, o)
	u := s.URLs()

	status, body := get(t, u.Gateway, "uservice3.localhost")
	if status != 200 || !strings.HasPrefix(body, "uservice3 trace=") {
		t.Fatalf("%d %s", status, body)
	}
	for _, want := range []string{
		"UPSTREAM=" + u.Services["uservice4"], "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://" + u.OTLPGRPC, "OTEL_SERVICE_NAME=uservice3",
		"TRACE_LINK=" + u.Explorer + "/trace/{trace_id}", "LOG_LEVEL=INFO", "OTEL_PROPAGATORS=jaeger",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("uservice3's environment has no %s", want)
		}
	}
	if strings.Contains(body, "OTEL_SDK_DISABLED") {
		t.Error("the shell's OTEL_SDK_DISABLED reached uservice3")
	}
	if _, body := get(t, u.Gateway, "uservice1.localhost"); strings.Contains(body, "OTEL_") || !strings.Contains(body, "UPSTREAM="+u.Services["uservice2"]) {
		t.Errorf("uservice1: %s", body)
	}

	// The gateway's spans reach the collector over OTLP, and the page shows them.
	id, _, _ := strings.Cut(strings.TrimPrefix(strings.Fields(body)[1], "trace="), ":")
	client := &tempo.Client{URL: u.Tempo}
	waitFor(t, "trace with the gateway's two spans", func() bool {
		tr, err := client.Trace(t.Context(), id)
		return err == nil && len(tr.Spans) == 2 && tr.Spans[0].Service == "gateway"
	})
	for path, want := range map[string]string{
		"/trace/" + id: "<html", "/tempo/api/v2/traces/" + id: "ReverseProxy", "/api/ledger?trace=" + id: `"to":"gateway"`, "/api/faults": `"active":""`,
	} {
		if status, page := get(t, u.Explorer+path, ""); status != 200 || !strings.Contains(page, want) {
			t.Errorf("%s of the explorer: %d %s", path, status, page)
		}
	}
	if !strings.Contains(logs.String(), "gateway   | {") || !strings.Contains(logs.String(), "uservice2 | {") {
		t.Errorf("logs: %s", logs)
	}
	mu.Lock()
	if !strings.Contains(seen["uservice4"], "listening") {
		t.Errorf("observed: %v", seen)
	}
	mu.Unlock()

	if err := s.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	if err := s.Stop(context.Background()); err != nil {
		t.Errorf("stopped twice: %v", err)
	}
	for _, url := range []string{u.Gateway, u.Explorer, u.Tempo, u.OTLPGRPC, u.OTLPHTTP, u.Services["uservice1"], u.Services["uservice4"]} {
		if !refused(url) {
			t.Errorf("%s still answers", url)
		}
	}
	select {
	case d := <-s.Deaths():
		t.Errorf("an orderly stop counts as a death: %+v", d)
	default:
	}
}

func TestServiceThatCannotStart(t *testing.T) {
	o, _, _ := options(t, "uservice4=die early")
	_, err := Start(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "uservice4 ended before it was ready: exit status 3: cannot go on") {
		t.Errorf("%v", err)
	}
}

func TestServiceThatDiesIsToldAndTheRestGoesOn(t *testing.T) {
	o, _, _ := options(t, "")
	s := start(t, o)
	if res, err := http.Get(s.URLs().Services["uservice4"] + "/die"); err == nil {
		res.Body.Close()
	}
	select {
	case d := <-s.Deaths():
		if d.Part != "uservice4" || d.How != "exit status 7" {
			t.Errorf("%+v", d)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nobody noticed")
	}
	if status, _ := get(t, s.URLs().Gateway, "uservice3.localhost"); status != 200 {
		t.Errorf("uservice3 answers %d", status)
	}
	if status, _ := get(t, s.URLs().Gateway, "uservice4.localhost"); status != 502 {
		t.Errorf("uservice4's host answers %d", status)
	}
	if err := s.Stop(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestServiceThatEndsBadlyIsTold(t *testing.T) {
	o, _, _ := options(t, "uservice3=end badly")
	s := start(t, o)
	err := s.Stop(context.Background())
	if err == nil || !strings.Contains(err.Error(), "uservice3 did not stop well: exit status 4: lost something") {
		t.Errorf("%v", err)
	}
}

func TestServiceThatDoesNotStopIsKilledAndTold(t *testing.T) {
	o, _, _ := options(t, "uservice1=ignore")
	s := start(t, o)
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("asked to stop at once"))
	err := s.Stop(ctx)
	if err == nil || !strings.Contains(err.Error(), "uservice1 was killed: asked to stop at once") {
		t.Errorf("%v", err)
	}
	if !refused(s.URLs().Services["uservice1"]) {
		t.Error("uservice1 still answers")
	}
}

func TestInterruptDuringTheStart(t *testing.T) {
	o, _, _ := options(t, "")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("interrupted"))
	if _, err := Start(ctx, o); err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("%v", err)
	}
}

func TestTakenPorts(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr := taken.Addr().String()

	t.Run("a taken default of a service moves and says so", func(t *testing.T) {
		o, _, messages := options(t, "")
		o.Services = Services()
		o.Services[0].Addr = addr
		delete(o.Addrs, o.Services[0].Name)
		s := start(t, o)
		if !strings.Contains(messages.String(), "uservice2: "+addr+" is taken") {
			t.Errorf("said %q", messages)
		}
		if status, _ := get(t, s.URLs().Gateway, "uservice2.localhost"); status != 200 {
			t.Errorf("got %d", status)
		}
	})
	for _, part := range []string{"explorer", "uservice3"} {
		t.Run("a taken address asked for "+part, func(t *testing.T) {
			o, _, _ := options(t, "")
			want := Addr{Value: addr, Asked: true}
			if part == "explorer" {
				o.Explorer = want
			} else {
				o.Addrs[part] = want
			}
			_, err := Start(t.Context(), o)
			if err == nil || !strings.Contains(err.Error(), part+" cannot listen on "+addr) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestMessagesNameEveryAddress(t *testing.T) {
	text := Describe(URLs{
		Gateway: "http://127.0.0.1:8000", Explorer: "http://127.0.0.1:3000", Tempo: "http://127.0.0.1:3200", OTLPGRPC: "127.0.0.1:4317",
		OTLPHTTP: "http://127.0.0.1:4318", Services: map[string]string{"uservice1": "http://127.0.0.1:8081", "uservice3": "http://127.0.0.1:8083"},
	})
	for _, want := range []string{
		"http://uservice3.localhost:8000/", "http://127.0.0.1:8083", "http://127.0.0.1:3000", "http://127.0.0.1:3200", "127.0.0.1:4317", "127.0.0.1:4318",
		"curl -i -H 'Host: uservice3.localhost' http://127.0.0.1:8000/",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}
