package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// waitTimeout is how long a test waits for something that takes no time on an idle machine.
const waitTimeout = 20 * time.Second

// process is the program under test, started by its run function on a port of its own.
type process struct {
	url  string
	stop context.CancelFunc
	done chan error // receives run's result
	logs *logBuffer
}

// logBuffer keeps what was logged, for reading while the program still writes.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// lines returns the log lines with the given message.
func (b *logBuffer) lines(t *testing.T, message string) []map[string]any {
	t.Helper()
	var found []map[string]any
	for line := range strings.Lines(b.String()) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("log line is not JSON: %q", line)
		}
		if entry["msg"] == message {
			found = append(found, entry)
		}
	}
	return found
}

// start runs the program and waits until it listens. Settings are environment variables; those in
// startEnv hold first.
func start(t *testing.T, env map[string]string, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	p := &process{stop: cancel, done: make(chan error, 1), logs: &logBuffer{}}
	getenv := func(name string) string {
		if value, ok := env[name]; ok {
			return value
		}
		return startEnv[name]
	}
	var stderr bytes.Buffer
	go func() {
		p.done <- run(ctx, append([]string{"-addr", "127.0.0.1:0"}, args...), getenv, in, &stderr)
		in.Close()
	}()
	listening := make(chan string, 1)
	go func() {
		defer close(listening)
		for scan := bufio.NewScanner(out); scan.Scan(); {
			p.logs.Write(append(scan.Bytes(), '\n'))
			var entry struct{ Msg, Addr string }
			if json.Unmarshal(scan.Bytes(), &entry) == nil && entry.Msg == "listening" {
				listening <- entry.Addr
			}
		}
	}()
	select {
	case addr, ok := <-listening:
		if !ok {
			t.Fatalf("run ended before it listened: %v\n%s", <-p.done, p.logs)
		}
		p.url = "http://" + addr
	case <-time.After(waitTimeout):
		t.Fatal("the program does not listen")
	}
	t.Cleanup(func() {
		cancel()
		select {
		case <-p.done:
		case <-time.After(waitTimeout):
			t.Error("the program does not stop")
		}
	})
	return p
}

// get returns status and body of a GET.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func TestSettings(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	taken := listener.Addr().String()
	for name, test := range map[string]struct {
		env  map[string]string
		args []string
		want string // part of the error, or of the usage; empty for none
		code int
	}{
		"-help prints the usage and is no error":         {args: []string{"-help"}, want: "(LOG_LEVEL)"},
		"a misspelled flag is an error":                  {args: []string{"-adr", ":1"}, want: "-adr", code: 2},
		"an argument is an error":                        {args: []string{"serve"}, want: `"serve"`, code: 1},
		"a malformed flag is an error":                   {args: []string{"-log-level", "loud"}, want: "loud", code: 2},
		"a malformed variable is an error that names it": {env: map[string]string{"LOG_LEVEL": "loud"}, want: "LOG_LEVEL", code: 1},
		"an address without a port is an error":          {args: []string{"-addr", "localhost"}, want: "localhost", code: 1},
		"a taken port is an error that names it":         {args: []string{"-addr", taken}, want: taken, code: 1},
	} {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			err := run(t.Context(), test.args, func(name string) string {
				if value, ok := test.env[name]; ok {
					return value
				}
				return startEnv[name]
			}, io.Discard, &stderr)
			if code := exitCode(err, &stderr); code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			if !strings.Contains(stderr.String(), test.want) {
				t.Errorf("standard error says %q, want %q in it", &stderr, test.want)
			}
		})
	}
}

func TestFlagsWinOverTheEnvironment(t *testing.T) {
	env := func(name string) string { return map[string]string{"ADDR": ":1", "LOG_LEVEL": "WARN"}[name] }
	conf, err := parseConfig([]string{"-addr", ":2", "-healthcheck"}, env, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if conf.addr != ":2" || conf.logLevel.String() != "WARN" {
		t.Errorf("addr %s, log level %s; want :2 and WARN", conf.addr, conf.logLevel)
	}
}

func TestHealth(t *testing.T) {
	p := start(t, nil)
	for _, path := range []string{"/healthz", "/readyz"} {
		if status, body := get(t, p.url+path); status != http.StatusOK {
			t.Errorf("%s answers %d %q", path, status, body)
		}
	}
	check := func(host string) error {
		return run(t.Context(), []string{"-healthcheck", "-addr", host + p.url[strings.LastIndex(p.url, ":"):]},
			func(string) string { return "" }, io.Discard, io.Discard)
	}
	for _, host := range []string{"127.0.0.1", "", "0.0.0.0", "[::]"} { // all but the first mean every interface
		if err := check(host); err != nil {
			t.Errorf("-healthcheck of a running service at %q: %v", host, err)
		}
	}
	if lines := p.logs.lines(t, "request"); len(lines) > 0 {
		t.Errorf("health checks are logged: %v", lines)
	}
	p.stop()
	if err := <-p.done; err != nil {
		t.Errorf("run after a graceful stop: %v", err)
	}
	p.done <- nil
	if err := check("127.0.0.1"); err == nil {
		t.Error("-healthcheck of a stopped service finds nothing wrong")
	}
}

func TestAStopFinishesTheRequestInFlight(t *testing.T) {
	p := start(t, slowEnv)
	answered := make(chan error, 1)
	go func() {
		res, err := http.Get(p.url)
		if err == nil {
			res.Body.Close()
			if res.StatusCode != http.StatusOK {
				err = errors.New(res.Status)
			}
		}
		answered <- err
	}()
	waitFor(t, "the request to arrive", func() bool { return len(p.logs.lines(t, "request")) == 1 })
	p.stop()
	if err := <-answered; err != nil {
		t.Errorf("the request in flight: %v", err)
	}
	if err := <-p.done; err != nil {
		t.Errorf("run: %v", err)
	}
	p.done <- nil
	if res, err := http.Get(p.url); err == nil {
		res.Body.Close()
		t.Error("a stopped service still answers")
	}
}

func TestHeadersAreBounded(t *testing.T) {
	p := start(t, nil)
	req, err := http.NewRequest(http.MethodGet, p.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Long", strings.Repeat("x", 2*maxHeaderBytes))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a request with too long headers is answered %s", res.Status)
	}
}

// waitFor polls until the condition holds.
func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(waitTimeout); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
