package resilience

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"example.com/grafana-tempo-go-demo/e2e/internal/repo"
	"example.com/grafana-tempo-go-demo/e2e/internal/testbed"
)

// A stop under load: accepted requests are answered, later clients find the port closed and get no
// other error, and the spans of all answered requests arrive.
func TestStopUnderLoadLosesNothing(t *testing.T) {
	b := newBackend(t)
	s := startStack(t, map[string]string{
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://" + b.addr,
		"REDIS_MIN":                          "10ms", "REDIS_MAX": "30ms", "DATABASE_MIN": "50ms", "DATABASE_MAX": "300ms",
	})
	const people = 50
	var mu sync.Mutex
	var ids []string
	var stopping atomic.Bool
	late := 0 // answers after the stop had begun
	var all sync.WaitGroup
	for range people {
		all.Go(func() {
			// Not net/http's client: it would retry on a closed connection, and so hide it.
			err := s.visitOnKeptConnections(func(a answer) {
				if a.status != http.StatusOK {
					t.Errorf("answered %d", a.status)
				}
				mu.Lock()
				defer mu.Unlock()
				ids = append(ids, a.trace)
				if stopping.Load() {
					late++
				}
			})
			if !errors.Is(err, syscall.ECONNREFUSED) || !stopping.Load() {
				t.Error(err)
			}
		})
	}
	if !testbed.Poll(t, func(context.Context) bool { mu.Lock(); defer mu.Unlock(); return len(ids) >= 3*people }) {
		t.Fatal("no load")
	}
	stopping.Store(true)
	if err := s.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	all.Wait()
	if late == 0 {
		t.Error("no request was in flight when the stop began")
	}
	b.waitForSpans(t, 5, ids...)
	for _, service := range []string{"uservice3", "uservice4"} {
		if lines := s.loggedLines(service, `"level":"ERROR"`); len(lines) > 0 {
			t.Errorf("%s: %s", service, lines[0])
		}
	}
	t.Logf("%d answers, %d of them after the stop had begun", len(ids), late)
}

// visitOnKeptConnections asks uservice3 for its page through the gateway, again after each answer,
// until it fails.
func (s *testStack) visitOnKeptConnections(answered func(answer)) error {
	for {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.urls.Gateway, "http://"))
		if err != nil {
			return err
		}
		err = func() error {
			defer conn.Close()
			reader := bufio.NewReader(conn)
			for {
				_ = conn.SetDeadline(time.Now().Add(testbed.Timeout))
				if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: uservice3.localhost\r\n\r\n"); err != nil {
					return fmt.Errorf("ask: %w", err)
				}
				res, err := http.ReadResponse(reader, nil)
				if err != nil {
					return fmt.Errorf("asked, and no answer: %w", err)
				}
				if _, err := io.Copy(io.Discard, res.Body); err != nil {
					return fmt.Errorf("half an answer: %w", err)
				}
				answered(answer{status: res.StatusCode, trace: traceOf(res)})
				if res.Close {
					return nil
				}
			}
		}()
		if err != nil {
			return err
		}
	}
}

// pidOf returns a service's process id, which its spans carry.
func (s *testStack) pidOf(t *testing.T, client *http.Client, service string) (pid int) {
	t.Helper()
	spans := &backend{tempo: tempoOf(s.urls)}
	a, err := s.visit(t.Context(), client, service, "")
	if err != nil || a.status != http.StatusOK {
		t.Fatalf("answered %d, %v", a.status, err)
	}
	if !testbed.Poll(t, func(ctx context.Context) bool {
		trace, err := spans.tempo.Trace(ctx, a.trace)
		if err != nil {
			return false
		}
		for _, span := range trace.Spans {
			if n, ok := span.Resource["process.pid"].(int64); ok && span.Service == service {
				pid = int(n)
			}
		}
		return pid != 0
	}) {
		t.Fatal("no trace says it")
	}
	return pid
}

// A killed service affects its caller and nothing else: every request is answered, with an error
// page where the service is missing.
func TestKilledServiceIsMissedByThoseWhoNeedIt(t *testing.T) {
	s := startStack(t, nil)
	client := newClient(t)
	pid := s.pidOf(t, client, "uservice4")
	var all sync.WaitGroup
	ended, end := context.WithCancel(t.Context())
	var mu sync.Mutex
	got := map[string]statuses{}
	for _, service := range repo.Services {
		got[service] = statuses{}
		for range 3 {
			all.Go(func() {
				for pace := time.Tick(5 * time.Millisecond); ended.Err() == nil; <-pace {
					a, err := s.visit(t.Context(), client, service, "")
					mu.Lock()
					got[service].add(a, err)
					mu.Unlock()
				}
			})
		}
	}
	count := func(service, status string) int { mu.Lock(); defer mu.Unlock(); return got[service][status] }
	testbed.Poll(t, func(context.Context) bool { return count("uservice3", "200") > 10 })
	p, err := os.FindProcess(pid)
	if err == nil {
		err = p.Kill()
	}
	if err != nil {
		t.Fatal(err)
	}
	select {
	case d := <-s.Deaths():
		if d.Part != "uservice4" || d.How != "signal: killed" {
			t.Errorf("%+v", d)
		}
	case <-time.After(testbed.Timeout):
		t.Error("nobody noticed")
	}
	testbed.Poll(t, func(context.Context) bool { return count("uservice3", "502") > 10 && count("uservice4", "502") > 10 })
	end()
	all.Wait()
	t.Log(got)
	for service, counts := range got {
		for status := range counts {
			if status != "200" && (status != "502" || service == "uservice1" || service == "uservice2") {
				t.Errorf("%s answered %v", service, counts)
			}
		}
	}
	select {
	case d := <-s.Deaths():
		t.Errorf("another end: %+v", d)
	default:
	}
}

// Without a writable folder for the services' programs nothing can start; the error names the
// folder and what to do.
func TestUnwritableTemporaryFolder(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("its temporary folder is another variable's")
	}
	folder := t.TempDir()
	file, locked := filepath.Join(folder, "file"), filepath.Join(folder, "locked")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Mkdir(locked, 0o500)); err != nil {
		t.Fatal(err)
	}
	cases := map[string]string{"is not there": filepath.Join(folder, "missing"), "is a file": file}
	if os.Getuid() != 0 { // permissions do not stop root
		cases["is locked"] = locked
	}
	for name, tmp := range cases {
		t.Run(name, func(t *testing.T) {
			args := []string{"up"}
			for _, part := range testbed.Parts {
				args = append(args, "-"+part+"-addr=127.0.0.1:0")
			}
			cmd := exec.CommandContext(t.Context(), testbed.Binary(t, "demo"), args...)
			cmd.Dir = repo.Root
			cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 1 {
				t.Errorf("it ends with %v", err)
			}
			if text := string(out); !strings.Contains(text, tmp) || !strings.Contains(text, "set TMPDIR to a folder that you can write to") || strings.Count(text, "\n") > 3 {
				t.Errorf("it says\n%s", text)
			}
		})
	}
}
