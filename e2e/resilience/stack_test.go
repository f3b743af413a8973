package resilience

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/grafana-tempo-go-demo/demo/collector"
	"example.com/grafana-tempo-go-demo/demo/discover"
	"example.com/grafana-tempo-go-demo/demo/stack"
	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/e2e/internal/testbed"
)

// testStack is a stack that runs within the test process, so that a test sees what its services
// log.
type testStack struct {
	*stack.Stack
	urls discover.URLs

	mu    sync.Mutex
	lines map[string][]string // of each service
}

// startStack starts a stack that ends with the test. Its mock calls take no time unless env sets
// other durations.
func startStack(t *testing.T, env map[string]string, change ...func(*stack.Options)) *testStack {
	t.Helper()
	if testing.Short() {
		t.Skip("builds and runs the real services")
	}
	if runtime.GOOS == "windows" {
		t.Skip("signals and errors of Unix are used")
	}
	s := &testStack{lines: map[string][]string{}}
	o := stack.Options{
		Bin:   testbed.Binaries(t),
		Addrs: stack.AnyAddrs(),
		Env:   map[string]string{"REDIS_MIN": "0s", "REDIS_MAX": "0s", "DATABASE_MIN": "0s", "DATABASE_MAX": "0s"},
		Logs:  s, Messages: io.Discard,
	}
	for name, value := range env {
		o.Env[name] = value
	}
	for _, f := range change {
		f(&o)
	}
	var err error
	if s.Stack, err = stack.Start(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	s.urls = s.URLs()
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Errorf("the stack did not stop well: %v", err)
		}
	})
	return s
}

// Write takes a line of the stack's log.
func (s *testStack) Write(line []byte) (int, error) {
	service, text, _ := strings.Cut(string(line), " | ")
	service = strings.TrimSpace(service)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines[service] = append(s.lines[service], text)
	return len(line), nil
}

// loggedLines returns the lines that a service has logged and that contain all of the texts.
func (s *testStack) loggedLines(service string, texts ...string) (found []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, line := range s.lines[service] {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
			found = append(found, line)
		}
	}
	return found
}

// answer is the response that a visitor got.
type answer struct {
	status int
	page   string
	trace  string // id, from the header traceresponse
	took   time.Duration
}

// visit asks a service, through the gateway, for the page with a query.
func (s *testStack) visit(ctx context.Context, client *http.Client, service, query string) (answer, error) {
	return ask(ctx, client, s.urls.Gateway+"/?"+query, service)
}

// ask sends a request with the host name by which the gateway routes to a service, and reads the
// whole answer.
func ask(ctx context.Context, client *http.Client, url, service string) (answer, error) {
	start := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return answer{}, err
	}
	req.Host = service + ".localhost"
	res, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	page, err := io.ReadAll(res.Body)
	return answer{status: res.StatusCode, page: string(page), trace: traceOf(res), took: time.Since(start)}, err
}

// traceOf returns the trace id in the header traceresponse, or "".
func traceOf(res *http.Response) string {
	if parts := strings.Split(res.Header.Get("traceresponse"), "-"); len(parts) == 4 {
		return parts[1]
	}
	return ""
}

// newClient returns a client that keeps a connection for each of up to 8192 visitors.
func newClient(t *testing.T) *http.Client {
	transport := &http.Transport{MaxIdleConnsPerHost: 8192}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: testbed.Timeout}
}

// backend is a collector outside the stack: it outlives the stack, and a test can disturb the
// network in between.
type backend struct {
	addr  string // host:port of OTLP over gRPC
	tempo *tempo.Client
}

func newBackend(t *testing.T) *backend {
	t.Helper()
	c := collector.New(slog.New(slog.DiscardHandler))
	otlp := httptest.NewUnstartedServer(c.OTLPHandler())
	otlp.Config.Protocols = new(http.Protocols)
	otlp.Config.Protocols.SetUnencryptedHTTP2(true) // gRPC
	otlp.Start()
	t.Cleanup(otlp.Close)
	api := httptest.NewServer(c.APIHandler())
	t.Cleanup(api.Close)
	return &backend{addr: otlp.Listener.Addr().String(), tempo: &tempo.Client{URL: api.URL}}
}

// waitForSpans waits until each of the traces has that many spans.
func (b *backend) waitForSpans(t *testing.T, want int, ids ...string) {
	t.Helper()
	for i, id := range ids {
		got := 0
		if !testbed.Poll(t, func(ctx context.Context) bool {
			trace, err := b.tempo.Trace(ctx, id)
			if err == nil {
				got = len(trace.Spans)
			} else if !errors.Is(err, tempo.ErrNotFound) {
				t.Fatal(err)
			}
			return got == want
		}) {
			t.Fatalf("of trace %d of %d, %s, %d spans arrived, want %d", i+1, len(ids), id, got, want)
		}
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// server passes each connection that it accepts to serve. It closes all of them when the test ends.
func server(t *testing.T, serve func(net.Conn)) net.Listener {
	t.Helper()
	l := listen(t)
	ended, end := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				defer context.AfterFunc(ended, func() { conn.Close() })()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		end()
		l.Close()
		all.Wait()
	})
	return l
}
