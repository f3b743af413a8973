package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
)

func TestUnknownHostIsOneLoneSpanAndAnAnswerThatHelps(t *testing.T) {
	for _, host := range []string{"nobody.localhost:8000", "evil<script>.localhost:8000", "x:80/\"><b>", strings.Repeat("long", 4<<10), "x:\xff"} {
		r := newRig(t, http.NotFoundHandler())
		req := httptest.NewRequest(http.MethodGet, "/", nil)
		req.Host = host // Go's client would not send some of them
		rec := httptest.NewRecorder()
		r.gw.ServeHTTP(rec, req)
		if body := rec.Body.String(); !strings.HasSuffix(body, ". It knows uservice1.localhost, uservice3.localhost.\n") || len(body) > 2<<10 {
			t.Errorf("%.50q gets %.500s", host, body)
		}
		if h := rec.Header(); h.Get("Content-Type") != "text/plain; charset=utf-8" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("a browser may take it for a page: %v", h)
		}
		s := r.ended(t, 1)[0]
		if s.Name() != "GET" || s.Status().Code != codes.Unset || attr(s, "http.response.status_code").AsInt64() != 404 {
			t.Errorf("span %s %v", s.Name(), s.Status())
		}
	}
}

func TestUpstreamThatFails(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	for _, tc := range []struct {
		name     string
		upstream http.HandlerFunc // nil for none
		status   int
		page     string
		logged   string
	}{
		{"it is down", nil, 502, "cannot be reached", "connection refused"},
		{"it breaks off", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 502, "cannot be reached", "EOF"},
		{"it is too slow", func(http.ResponseWriter, *http.Request) { <-release }, 504, "in time", "timeout"},
		{"it switches protocols unasked", switchProtocols, 502, "cannot be reached", "switch protocols"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			up := httptest.NewUnstartedServer(tc.upstream)
			up.Start()
			t.Cleanup(up.CloseClientConnections)
			if tc.upstream == nil {
				up.Close()
			}
			r := newRigTo(t, up.URL)
			r.gw.transport.ResponseHeaderTimeout = 100 * time.Millisecond
			res, body := r.get(t, "uservice3.localhost", "/", nil)
			if res.StatusCode != tc.status || !strings.Contains(body, tc.page) || strings.Contains(body, up.Listener.Addr().String()) {
				t.Errorf("got %d: %s", res.StatusCode, body)
			}
			for _, s := range r.ended(t, 2) {
				if s.Status().Code != codes.Error || attr(s, "http.response.status_code").AsInt64() != int64(tc.status) {
					t.Errorf("%s: %v %v", s.Name(), s.Status(), s.Attributes())
				}
			}
			waitFor(t, "log line with the cause", func() bool { return strings.Contains(r.logs.String(), tc.logged) })
		})
	}
}

// switchProtocols answers 101 and says nothing more until the other side hangs up.
func switchProtocols(w http.ResponseWriter, _ *http.Request) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	_ = rw.Flush()
	_, _ = io.Copy(io.Discard, rw)
}

// Whatever is on the other side of such an answer, it would hold the gateway for as long as it likes.
func TestAProtocolSwitchIsRefusedAndItsConnectionClosed(t *testing.T) {
	hungUp := make(chan struct{})
	r := newRig(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switchProtocols(w, req)
		close(hungUp)
	}))
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: uservice3.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || res.StatusCode != http.StatusBadGateway {
		t.Fatalf("%v %v", res, err)
	}
	select {
	case <-hungUp:
	case <-time.After(5 * time.Second):
		t.Error("the connection to the upstream stays open")
	}
}

func TestClientThatHangsUpIsLoggedAs499(t *testing.T) {
	arrived := make(chan struct{})
	r := newRig(t, http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		close(arrived)
		<-req.Context().Done()
	}))
	ctx, cancel := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	req.Host = "uservice3.localhost"
	go func() { <-arrived; cancel() }()
	if _, err := http.DefaultTransport.RoundTrip(req); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	spans := r.ended(t, 2)
	if attr(spans[0], "http.response.status_code").AsInt64() != 499 || spans[0].Status().Code != codes.Error || spans[1].Status().Code != codes.Unset {
		t.Errorf("%v %v", spans[0].Status(), spans[1].Status())
	}
	waitFor(t, "log line", func() bool { return strings.Contains(r.logs.String(), `"status":499`) })
	if logs := r.logs.String(); strings.Contains(logs, `"ERROR"`) || strings.Contains(logs, "panic") {
		t.Error(logs)
	}
}
