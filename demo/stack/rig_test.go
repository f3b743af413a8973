package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/services"
	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

func TestMain(m *testing.M) {
	code := m.Run()
	_ = services.RemoveAll(builtDir)
	os.Exit(code)
}

// builtDir is where built has put the services; empty while it has not.
var builtDir string

// built returns a folder with the services, built once for all tests.
var built = sync.OnceValues(func() (bin string, err error) {
	builtDir, err = services.Build(context.Background(), io.Discard)
	return builtDir, err
})

// logs is what all parts have logged.
func (s *Stack) logs() string {
	s.output.mu.Lock()
	defer s.output.mu.Unlock()
	return s.o.Logs.(*bytes.Buffer).String()
}

// options are those of a stack on free ports, with mock calls that take no time. Its programs are
// links, so that a test can take one away.
func options(t *testing.T) Options {
	t.Helper()
	if testing.Short() || runtime.GOOS == "windows" {
		t.Skip("builds and runs the services, and uses links and signals of Unix")
	}
	if _, err := built(); err != nil {
		t.Fatal(err)
	}
	o := Options{
		Bin: t.TempDir(), Addrs: AnyAddrs(), Logs: &bytes.Buffer{}, Messages: &bytes.Buffer{},
		Env: map[string]string{"REDIS_MIN": "0s", "REDIS_MAX": "0s", "DATABASE_MIN": "0s", "DATABASE_MAX": "0s"},
	}
	for _, s := range topology.Services() {
		o.program(t, s.Name, true)
	}
	return o
}

// program puts a service's program there, or takes it away.
func (o Options) program(t *testing.T, name string, there bool) {
	t.Helper()
	link := filepath.Join(o.Bin, name)
	err := os.Remove(link)
	if there {
		err = os.Symlink(filepath.Join(builtDir, name), link)
	}
	if err != nil {
		t.Fatal(err)
	}
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

// holdUservice4 lets it work on a request for two seconds, in which it does not stop.
func (s *Stack) holdUservice4(t *testing.T) {
	t.Helper()
	go func() {
		if res, err := http.Get(s.URLs().Services["uservice4"] + "/?slow=database"); err == nil {
			res.Body.Close()
		}
	}()
	waitFor(t, "request", func() bool { return strings.Contains(s.logs(), `"query":"slow=database"`) })
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
	for _, s := range tr.Spans {
		if s.Parent == nil {
			walk(s, "")
		}
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
