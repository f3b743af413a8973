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
	"testing"
	"time"

	"example.com/grafana-tempo-go-demo/e2e/internal/testbed"
)

// A client that misbehaves harms only itself: others are answered all the while, its resources are
// soon free again, and no service reports an internal error.
func TestClientsThatMisbehave(t *testing.T) {
	t.Parallel()
	s := startStack(t, nil)
	client := newClient(t)
	ended, end := context.WithCancel(t.Context())
	var others sync.WaitGroup
	others.Go(func() {
		for pace := time.Tick(50 * time.Millisecond); ended.Err() == nil; <-pace {
			if a, err := s.visit(t.Context(), client, "uservice3", ""); err != nil || a.status != http.StatusOK {
				t.Errorf("another client is answered %d, %v", a.status, err)
			}
		}
	})
	defer others.Wait()
	defer end()

	const get = "GET / HTTP/1.1\r\nHost: uservice3.localhost\r\n"
	type talk struct {
		net.Conn
		*bufio.Reader
	}
	// status reads an answer and returns its status.
	status := func(c talk) (int, error) {
		res, err := http.ReadResponse(c.Reader, nil)
		if err != nil {
			return 0, err
		}
		defer res.Body.Close()
		_, err = io.Copy(io.Discard, res.Body)
		return res.StatusCode, err
	}
	// closed waits until the server has closed the connection.
	closed := func(c talk) error {
		_, err := io.Copy(io.Discard, c.Reader)
		if netErr, ok := errors.AsType[net.Error](err); ok && netErr.Timeout() {
			return errors.New("the connection is still open")
		}
		return nil // closed, with or without an error
	}
	var all sync.WaitGroup
	for where, url := range map[string]string{"the gateway": s.urls.Gateway, "uservice3": s.urls.Services["uservice3"]} {
		for _, tc := range []struct {
			name string
			do   func(talk) error
		}{
			{"says nothing", closed},
			{"sends a byte a second", func(c talk) error {
				go func() {
					for i := 0; ; i++ {
						if _, err := c.Write([]byte{get[i%len(get)]}); err != nil {
							return
						}
						time.Sleep(time.Second) // the misbehaviour itself
					}
				}()
				return closed(c)
			}},
			{"sends a megabyte of headers", func(c talk) error {
				go func() { _, _ = io.WriteString(c, get+"X: "+strings.Repeat("x", 1<<20)+"\r\n\r\n") }()
				// A connection closed with unread input is reset, and the reset may arrive before
				// the answer.
				if got, err := status(c); err == nil && got != http.StatusRequestHeaderFieldsTooLarge {
					return fmt.Errorf("answered %d", got)
				}
				return closed(c)
			}},
			{"announces a body and does not send it", func(c talk) error {
				_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: uservice3.localhost\r\nContent-Length: 1000\r\n\r\n")
				// An error of the client, not of the service, at the latest when the body's timeout
				// is over.
				if got, err := status(c); err != nil || got != http.StatusMethodNotAllowed && got != http.StatusRequestTimeout {
					return errors.Join(fmt.Errorf("answered %d", got), err)
				}
				return closed(c)
			}},
		} {
			for range 3 {
				all.Go(func() {
					conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
					if err != nil {
						t.Error(err)
						return
					}
					defer conn.Close()
					_ = conn.SetDeadline(time.Now().Add(testbed.Timeout)) // the servers' own bound is 10 s
					if err := tc.do(talk{conn, bufio.NewReader(conn)}); err != nil {
						t.Errorf("a client of %s that %s: %v", where, tc.name, err)
					}
				})
			}
		}
	}
	all.Wait()
	for _, service := range []string{"uservice3", "uservice4"} {
		s.checkResources(t, service, 200<<20, 100) // all those connections are closed
		if lines := s.loggedLines(service, `"msg":"panic"`); len(lines) > 0 {
			t.Errorf("%s: %s", service, lines)
		}
	}
}
