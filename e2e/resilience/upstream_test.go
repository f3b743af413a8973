package resilience

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/e2e/internal/testbed"
)

// badUpstream stands in for uservice2 and uservice4. The query's case, which uservice1 and 3 pass
// on, selects how it misbehaves.
func badUpstream(t *testing.T) string {
	ended, end := context.WithCancel(context.Background())
	t.Cleanup(end)
	writeForever := func(conn net.Conn, head, piece string, pause time.Duration) {
		_, err := io.WriteString(conn, head)
		for err == nil && ended.Err() == nil {
			if _, err = io.WriteString(conn, piece); pause > 0 {
				select {
				case <-ended.Done():
				case <-time.After(pause):
				}
			}
		}
	}
	l := server(t, func(conn net.Conn) {
		reader := bufio.NewReader(conn)
		for {
			req, err := http.ReadRequest(reader)
			if err != nil {
				return
			}
			switch req.URL.Query().Get("case") {
			case "":
				if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); err != nil {
					return
				}
				continue // the connection is kept
			case "hangs":
				_, _ = io.Copy(io.Discard, reader)
			case "resets":
				_ = conn.(*net.TCPConn).SetLinger(0)
			case "500":
				_, _ = io.WriteString(conn, "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\noops")
			case "garbage":
				_, _ = io.WriteString(conn, "\x16\x03\x01\x00\xff no HTTP\r\n\r\n")
			case "switches":
				_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
				_, _ = io.Copy(io.Discard, reader)
			case "half":
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this")
			case "endless":
				writeForever(conn, "HTTP/1.1 200 OK\r\n\r\n", strings.Repeat("x", 4096), 0)
			case "trickle":
				writeForever(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n", time.Second)
			case "headers":
				writeForever(conn, "HTTP/1.1 200 OK\r\n", "X-Header: "+strings.Repeat("x", 4096)+"\r\n", 0)
			}
			return
		}
	})
	return "http://" + l.Addr().String()
}

// Whatever the called service does, the plain and the instrumented caller answer with a page of
// their own, and the trace has the status error.
func TestAServiceAnswersWhateverIsBehindIt(t *testing.T) {
	t.Parallel()
	upstream := badUpstream(t)
	s := startStack(t, map[string]string{"UPSTREAM": upstream})
	client := newClient(t)
	spans := &tempo.Client{URL: s.urls.Tempo}
	const badly, slowly = "behind this one failed", "took too long"
	var all sync.WaitGroup
	var timedOut, late atomic.Int32 // requests that timed out; others that were answered after one of those
	for _, service := range []string{"uservice1", "uservice3"} {
		for _, tc := range []struct {
			name   string
			status int
			says   string
		}{
			{"hangs", 504, slowly},
			{"trickle", 504, slowly},
			{"endless", 502, badly},
			{"half", 502, badly},
			{"switches", 502, badly},
			{"resets", 502, badly},
			{"500", 502, badly},
			{"garbage", 502, badly},
			{"headers", 502, badly},
			{"", 200, "Hello"},
		} {
			for range 3 { // the second may find broken connections of the first
				all.Go(func() {
					a, err := s.visit(t.Context(), client, service, "case="+tc.name)
					if tc.status == http.StatusGatewayTimeout {
						timedOut.Add(1)
					} else if timedOut.Load() > 0 {
						late.Add(1)
					}
					if err != nil || a.status != tc.status || !strings.Contains(a.page, tc.says) || strings.Contains(a.page, "comes from the gateway") {
						t.Errorf("%s, when what is behind it %s, answers %d, %v:\n%s", service, tc.name, a.status, err, a.page)
					}
					if strings.Contains(a.page, strings.TrimPrefix(upstream, "http://")) {
						t.Errorf("%s, when what is behind it %s, tells of its inside:\n%s", service, tc.name, a.page)
					}
					if service == "uservice1" {
						return
					}
					want := "error"
					if tc.status == http.StatusOK {
						want = "ok"
					}
					got := ""
					if !testbed.Poll(t, func(ctx context.Context) bool {
						trace, err := spans.Trace(ctx, a.trace)
						if err != nil {
							got = err.Error()
							return false
						}
						got = ""
						for _, span := range trace.Spans {
							if span.Name == "handle_incoming_call" {
								got = span.Status
							}
						}
						return len(trace.Spans) == 5 && got == want
					}) {
						t.Errorf("when what is behind it %s, the trace %s says %q, want %q", tc.name, a.trace, got, want)
					}
				})
			}
		}
	}
	all.Wait()
	if n := late.Load(); n > 0 {
		t.Errorf("%d requests waited for others that hang", n)
	}
	s.checkResources(t, "uservice3", 300<<20, 200)
}
