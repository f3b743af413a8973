// Package testbed builds the programs of this repository, starts the demo, and finds the stack
// under test.
package testbed

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
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/e2e/internal/repo"
)

// Timeout bounds every wait. It is ten times what a healthy stack needs.
const Timeout = 30 * time.Second

// Stack is a running stack: the proxy in front of the services, and Tempo's API. Tests that use
// nothing else judge both ways of running the demo.
type Stack struct {
	Gateway *url.URL
	Tempo   *tempo.Client
	Client  *http.Client // asks the gateway
	Demo    *Demo        // the no-Docker run, or nil if the stack was up already
}

var shared = sync.OnceValues(func() (*Stack, error) {
	gateway, tempoURL := os.Getenv("E2E_GATEWAY_URL"), os.Getenv("E2E_TEMPO_URL")
	if (gateway == "") != (tempoURL == "") {
		return nil, fmt.Errorf("E2E_GATEWAY_URL=%q and E2E_TEMPO_URL=%q: set both, or none", gateway, tempoURL)
	}
	if gateway != "" {
		return newStack(gateway, tempoURL)
	}
	demo, err := Start()
	if err != nil {
		return nil, err
	}
	started = demo
	s, err := newStack(demo.Gateway, demo.Tempo)
	if err == nil {
		s.Demo = demo
	}
	return s, err
})

// started is the demo that Shared has started, for Run to stop.
var started *Demo

// Shared returns the stack that all tests of a package share: the no-Docker run, started for the
// first test that asks, unless E2E_GATEWAY_URL and E2E_TEMPO_URL name one that is up already.
func Shared(t *testing.T) *Stack {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Run runs a package's tests, and then stops the shared demo and removes the built programs. It
// returns the exit code. The TestMain of each package that starts programs calls it.
func Run(m *testing.M) int {
	code := m.Run()
	if started != nil {
		if err := started.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "e2e: the demo did not stop well:", err)
			code = 1
		}
	}
	os.RemoveAll(built) // nothing, if no test needed a program
	return code
}

// newStack returns the stack with these base URLs. An error says what is wrong with the gateway's.
func newStack(gateway, tempoURL string) (*Stack, error) {
	u, err := url.Parse(gateway)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("gateway %q: want a URL such as http://localhost", gateway)
	}
	// Go's resolver does not know *.localhost: dial the proxy, and name the service in the Host
	// header.
	client := &http.Client{Timeout: Timeout, Transport: &http.Transport{DisableKeepAlives: true}}
	return &Stack{Gateway: u, Tempo: &tempo.Client{URL: tempoURL, HTTP: client}, Client: client}, nil
}

// Parts are those of the demo that listen; each has a flag for its address: -gateway-addr, for
// example.
var Parts = append([]string{"gateway", "explorer", "tempo", "otlp-grpc", "otlp-http"}, repo.Services...)

// Demo is a running `demo up -json`: the addresses that it prints, base URLs but for one.
type Demo struct {
	Gateway  string `json:"gateway"`
	Explorer string `json:"explorer"`
	Tempo    string `json:"tempo"`
	OTLPGRPC string `json:"otlp_grpc"` // host:port
	OTLPHTTP string `json:"otlp_http"`

	Services map[string]string `json:"services"`

	cmd *exec.Cmd
}

// Start starts the demo on free ports with short mock calls, and with further flags, such as -break=random,
// and variables, such as DATABASE_MIN=200ms. The caller stops it.
func Start(more ...string) (*Demo, error) {
	folder, err := binaries()
	if err != nil {
		return nil, err
	}
	d := &Demo{cmd: exec.Command(executable(folder, "demo"), "up", "-json")}
	d.cmd.Dir = repo.Root
	d.cmd.Env = append(os.Environ(), "REDIS_MIN=1ms", "REDIS_MAX=2ms", "DATABASE_MIN=3ms", "DATABASE_MAX=5ms")
	for _, part := range Parts {
		d.cmd.Args = append(d.cmd.Args, "-"+part+"-addr=127.0.0.1:0")
	}
	for _, setting := range more {
		if strings.HasPrefix(setting, "-") {
			d.cmd.Args = append(d.cmd.Args, setting)
		} else {
			d.cmd.Env = append(d.cmd.Env, setting)
		}
	}
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
		d.Stop()
		return nil, fmt.Errorf("start the demo: %w\n%s", err, logs)
	}
	go io.Copy(io.Discard, stdout)
	return d, nil
}

// Stop stops the demo as Ctrl-C does. An error says how it ended instead.
func (d *Demo) Stop() error {
	if runtime.GOOS == "windows" {
		return d.cmd.Process.Kill() // Windows cannot interrupt a single process
	}
	if err := d.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	return d.cmd.Wait()
}

// Get asks a host behind the proxy for a path, with the header uber-trace-id unless that is empty.
// It returns the status and the header traceresponse.
func (s *Stack) Get(t *testing.T, host, path, uberTraceID string) (status int, traceResponse string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Gateway.String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	if port := s.Gateway.Port(); port != "" {
		req.Host = net.JoinHostPort(host, port)
	}
	if uberTraceID != "" {
		req.Header.Set("uber-trace-id", uberTraceID)
	}
	res, err := s.Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header.Get("traceresponse")
}

// FreeAddress returns an address on which nobody listens.
func FreeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// Poll calls f until it returns true, and then returns true; false when Timeout is over.
func Poll(t *testing.T, f func(context.Context) bool) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Timeout)
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
