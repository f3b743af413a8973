package resilience

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/grafana-tempo-go-demo/demo/collector"
	"example.com/grafana-tempo-go-demo/demo/stack"
	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/e2e/internal/repo"
	"example.com/grafana-tempo-go-demo/e2e/internal/testbed"
)

// holding is a stack under test, within this process, so that what it says of its parts is at hand.
type holding struct {
	*stack.Stack
	urls stack.URLs

	mu    sync.Mutex
	lines map[string][]string // of each service's standard output
}

// hold starts a stack with mock calls that take no time, unless env has it otherwise.
func hold(t *testing.T, env map[string]string, change ...func(*stack.Options)) *holding {
	t.Helper()
	if testing.Short() {
		t.Skip("builds and runs the real services")
	}
	if runtime.GOOS == "windows" {
		t.Skip("signals and errors of Unix are used")
	}
	h := &holding{lines: map[string][]string{}}
	any := stack.Any
	o := stack.Options{
		Bin:     testbed.Binaries(t),
		Gateway: any, Explorer: any, Tempo: any, OTLPGRPC: any, OTLPHTTP: any,
		Addrs: map[string]stack.Addr{},
		Env:   map[string]string{"REDIS_MIN": "0s", "REDIS_MAX": "0s", "DATABASE_MIN": "0s", "DATABASE_MAX": "0s"},
		Observe: func(service string, line []byte) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.lines[service] = append(h.lines[service], string(line))
		},
	}
	for _, service := range repo.Services {
		o.Addrs[service] = any
	}
	for name, value := range env {
		o.Env[name] = value
	}
	for _, f := range change {
		f(&o)
	}
	s, err := stack.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	h.Stack, h.urls = s, s.URLs()
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Errorf("the stack did not stop well: %v", err)
		}
	})
	return h
}

// logged returns what of the lines that a service has logged contains all of the texts.
func (h *holding) logged(service string, texts ...string) (found []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
next:
	for _, line := range h.lines[service] {
		for _, text := range texts {
			if !strings.Contains(line, text) {
				continue next
			}
		}
		found = append(found, line)
	}
	return found
}

// peers returns how many connections the requests came in on that a service has logged.
func (h *holding) peers(t *testing.T, service string) int {
	t.Helper()
	distinct := map[string]bool{}
	for _, line := range h.logged(service, `"msg":"request"`) {
		var request struct {
			RemoteAddr string `json:"remote_addr"`
		}
		if err := json.Unmarshal([]byte(line), &request); err != nil {
			t.Fatal(err)
		}
		distinct[request.RemoteAddr] = true
	}
	return len(distinct)
}

// answer is what a visitor got.
type answer struct {
	status int
	page   string
	trace  string // id, of what names its trace
	took   time.Duration
}

// visit asks a service, through the gateway, for the page with a query.
func (h *holding) visit(ctx context.Context, client *http.Client, service, query string) (answer, error) {
	return ask(ctx, client, h.urls.Gateway+"/?"+query, service)
}

// ask sends a request with a service's host name, which tells the gateway whom it is for, and reads the whole answer.
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

// traceOf returns the id of the trace that an answer names, or nothing.
func traceOf(res *http.Response) string {
	if parts := strings.Split(res.Header.Get("traceresponse"), "-"); len(parts) == 4 {
		return parts[1]
	}
	return ""
}

// visitors returns a client that keeps its connections, as many as there are visitors.
func visitors(t *testing.T) *http.Client {
	transport := &http.Transport{MaxIdleConnsPerHost: 8192}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: testbed.Timeout}
}

// backend is a collector that outlives the stack under test, and that can be reached over a network that is broken.
type backend struct {
	addr  string // host:port of OTLP over gRPC
	tempo *tempo.Client
}

func newBackend(t *testing.T) *backend {
	t.Helper()
	l := listen(t)
	c := collector.New(collector.Options{})
	served := make(chan error, 1)
	go func() { served <- c.ServeGRPC(l) }()
	api := httptest.NewServer(c.APIHandler())
	t.Cleanup(func() {
		api.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = c.Shutdown(ctx) // cuts what is left
		if err := <-served; err != nil {
			t.Errorf("collector: %v", err)
		}
	})
	return &backend{addr: l.Addr().String(), tempo: &tempo.Client{URL: api.URL}}
}

// spans returns how many spans of a trace have arrived.
func (b *backend) spans(ctx context.Context, id string) (int, error) {
	trace, err := b.tempo.Trace(ctx, id)
	if errors.Is(err, tempo.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return len(trace.Spans), nil
}

// await waits until that many spans have arrived of each of the traces.
func (b *backend) await(t *testing.T, want int, ids ...string) {
	t.Helper()
	for i, id := range ids {
		got := 0
		if !testbed.Poll(t, func(ctx context.Context) bool {
			var err error
			if got, err = b.spans(ctx, id); err != nil {
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

// server accepts connections and gives each to serve, with what closes it at the end.
func server(t *testing.T, serve func(net.Conn)) net.Listener {
	t.Helper()
	l := listen(t)
	var all sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[conn] = true
			mu.Unlock()
			all.Go(func() {
				defer conn.Close()
				serve(conn)
				mu.Lock()
				delete(open, conn)
				mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for conn := range open {
			conn.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return l
}

// statuses counts answers, for a message.
type statuses map[string]int

func (s statuses) add(a answer, err error) {
	if err != nil {
		s[err.Error()]++
	} else {
		s[fmt.Sprint(a.status)]++
	}
}

func tempoOf(urls stack.URLs) *tempo.Client { return &tempo.Client{URL: urls.Tempo} }
