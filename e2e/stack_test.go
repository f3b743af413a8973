package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/grafana-tempo-go-demo/demo/tempo"
)

// patience is how long a test waits for what a stack does within a second or three.
const patience = 30 * time.Second

// liveStack is what the tests judge: a proxy in front of the services, and Tempo's API. Nothing else of it is known here, so
// that the same tests judge both ways of running the demo.
type liveStack struct {
	gateway *url.URL
	tempo   *tempo.Client
	client  *http.Client
}

// underTest returns the stack that all tests share: the no-Docker run, started for the first test that asks, unless
// E2E_GATEWAY_URL and E2E_TEMPO_URL name one that is up already.
var underTest = sync.OnceValues(func() (*liveStack, error) {
	gateway, tempoURL := os.Getenv("E2E_GATEWAY_URL"), os.Getenv("E2E_TEMPO_URL")
	if (gateway == "") != (tempoURL == "") {
		return nil, fmt.Errorf("E2E_GATEWAY_URL=%q and E2E_TEMPO_URL=%q: set both, or none", gateway, tempoURL)
	}
	if gateway == "" {
		var err error
		if started, err = startDemo(); err != nil {
			return nil, err
		}
		gateway, tempoURL = started.Gateway, started.Tempo
	}
	return newStack(gateway, tempoURL)
})

// started is the no-Docker run, once a test has asked for it.
var started *demo

func theStack(t *testing.T) *liveStack {
	t.Helper()
	s, err := underTest()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// removeAtEnd are folders of the tests.
var removeAtEnd []string

func TestMain(m *testing.M) {
	code := m.Run()
	for _, folder := range removeAtEnd {
		os.RemoveAll(folder)
	}
	if started != nil {
		if err := started.stop(); err != nil {
			fmt.Fprintln(os.Stderr, "e2e: the demo did not stop well:", err)
			code = 1
		}
	}
	os.Exit(code)
}

func newStack(gateway, tempoURL string) (*liveStack, error) {
	u, err := url.Parse(gateway)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("gateway %q: want a URL such as http://localhost", gateway)
	}
	// Go's resolver does not know *.localhost: dial the proxy, and name the service in the Host header.
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	return &liveStack{gateway: u, tempo: &tempo.Client{URL: tempoURL, HTTP: client}, client: client}, nil
}

// demo is a running `demo up -json`.
type demo struct {
	Gateway  string `json:"gateway"`
	Explorer string `json:"explorer"`
	Tempo    string `json:"tempo"`
	OTLPHTTP string `json:"otlp_http"`

	Services map[string]string `json:"services"`

	cmd    *exec.Cmd
	folder string
}

// startDemo builds the demo as a user's `go run ./demo` would, and starts it on free ports with short mock calls.
func startDemo() (_ *demo, err error) {
	folder, err := os.MkdirTemp("", "e2e-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(folder)
		}
	}()
	binary := filepath.Join(folder, "demo")
	if runtime.GOOS == "windows" {
		binary += ".exe"
	}
	build := exec.Command("go", "build", "-o", binary, "./demo")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the demo: %w\n%s", err, out)
	}
	args := []string{"up", "-json", "-redis-min", "1ms", "-redis-max", "2ms", "-database-min", "3ms", "-database-max", "5ms"}
	for _, flag := range []string{"gateway", "explorer", "tempo", "otlp-grpc", "otlp-http", "uservice1", "uservice2", "uservice3", "uservice4"} {
		args = append(args, "-"+flag+"-addr", "127.0.0.1:0")
	}
	d := &demo{cmd: exec.Command(binary, args...), folder: folder}
	d.cmd.Dir = ".."
	logs := &strings.Builder{}
	d.cmd.Stderr = logs
	stdout, err := d.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	ready, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(ready, d)
	}
	if err != nil {
		d.stop()
		return nil, fmt.Errorf("start the demo: %w\n%s", err, logs)
	}
	go io.Copy(io.Discard, stdout)
	return d, nil
}

// stop stops the demo as Ctrl-C does.
func (d *demo) stop() error {
	defer os.RemoveAll(d.folder)
	if runtime.GOOS == "windows" {
		return d.cmd.Process.Kill() // it has no interrupt for a single process
	}
	if err := d.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	return d.cmd.Wait()
}

// get asks a host behind the proxy for a path, with an uber-trace-id header that may be empty, and returns what it is
// answered: status, and the header that names the trace.
func (s *liveStack) get(t *testing.T, host, path, uberTraceID string) (status int, traceResponse string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.gateway.String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	if port := s.gateway.Port(); port != "" {
		req.Host = net.JoinHostPort(host, port)
	}
	if uberTraceID != "" {
		req.Header.Set("uber-trace-id", uberTraceID)
	}
	res, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header.Get("traceresponse")
}

// poll calls f until it returns true, or patience ends.
func poll(t *testing.T, f func(context.Context) bool) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if f(ctx) {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}
