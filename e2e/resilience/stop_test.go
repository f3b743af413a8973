package resilience

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

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
