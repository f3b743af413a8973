package gateway

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

func TestRoutesByHostName(t *testing.T) {
	r := newRig(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		fmt.Fprintf(w, "%s %s", req.Host, req.URL.RequestURI())
	}))
	for _, tc := range []struct {
		name, host string
		status     int
	}{
		{"the plain name", "uservice3.localhost", 200},
		{"with a port", "uservice3.localhost:8000", 200},
		{"in upper case", "USERVICE3.LocalHost", 200},
		{"with a trailing dot", "uservice3.localhost.", 200},
		{"with a trailing dot and a port", "uservice3.localhost.:8000", 200},
		{"another route", "uservice1.localhost", 200},
		{"another name", "uservice9.localhost", 404},
		{"a longer name", "a.uservice3.localhost", 404},
		{"the address", "127.0.0.1:8000", 404},
		{"an IPv6 address", "[::1]:8000", 404},
	} {
		t.Run(tc.name, func(t *testing.T) {
			res, body := r.get(t, tc.host, "/a%2Fb?x=1&y=%zz", nil)
			if res.StatusCode != tc.status {
				t.Fatalf("got %d, want %d", res.StatusCode, tc.status)
			}
			if want := tc.host + " /a%2Fb?x=1&y=%zz"; tc.status == 200 && body != want {
				t.Errorf("the upstream saw %q, want %q", body, want)
			}
		})
	}
}

func TestForwardedHeadersAreTheGatewaysOwn(t *testing.T) {
	got := make(chan http.Header, 1)
	r := newRig(t, http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { got <- req.Header }))
	r.get(t, "uservice3.localhost:8000", "/", http.Header{
		"X-Forwarded-For": {"6.6.6.6"}, "X-Forwarded-Host": {"evil"}, "X-Forwarded-Port": {"666"}, "X-Real-Ip": {"6.6.6.6"},
	})
	h := <-got
	for name, want := range map[string]string{
		"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "uservice3.localhost:8000", "X-Forwarded-Proto": "http",
		"X-Forwarded-Port": "8000", "X-Forwarded-Server": "gateway", "X-Real-Ip": "127.0.0.1",
	} {
		if h.Get(name) != want {
			t.Errorf("%s: got %q, want %q", name, h.Get(name), want)
		}
	}
	if h.Get("Accept-Encoding") != "" && h.Get("Accept-Encoding") != "gzip" { // gzip is the test client's
		t.Errorf("Accept-Encoding: %q", h.Get("Accept-Encoding"))
	}
}

func TestTraceIsStartedOrContinued(t *testing.T) {
	const trc, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	for _, tc := range []struct {
		name, header string
		continued    bool
		sampled      bool
	}{
		{"no header starts one", "", false, true},
		{"a valid header is continued", trc + ":" + parent + ":0:1", true, true},
		{"an unsampled header is continued unsampled", trc + ":" + parent + ":0:0", true, false},
		{"a malformed header starts one", "not-a-trace", false, true},
		{"an over-long header starts one", strings.Repeat("a", 8000), false, true},
		{"zeros start one", "0:0:0:1", false, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := make(chan http.Header, 1)
			r := newRig(t, http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { got <- req.Header }))
			header := http.Header{"Traceparent": {"kept as it is"}}
			if tc.header != "" {
				header.Set("Uber-Trace-Id", tc.header)
			}
			r.get(t, "uservice3.localhost", "/", header)
			h := <-got
			sent := strings.Split(h.Get("Uber-Trace-Id"), ":")
			if len(sent) != 4 || len(sent[0]) != 32 || len(sent[1]) != 16 || sent[2] != "0" {
				t.Fatalf("the upstream got %q", h.Get("Uber-Trace-Id"))
			}
			if (sent[0] == trc) != tc.continued {
				t.Errorf("the upstream got %q; continued should be %v", h.Get("Uber-Trace-Id"), tc.continued)
			}
			if sent[1] == parent {
				t.Error("the upstream got the client's span as parent, not the gateway's")
			}
			if (sent[3] == "1") != tc.sampled {
				t.Errorf("flags %q, sampled should be %v", sent[3], tc.sampled)
			}
			if h.Get("Traceparent") != "kept as it is" {
				t.Errorf("a header of another format became %q", h.Get("Traceparent"))
			}
			if !tc.sampled {
				r.ended(t, 0)
				return
			}
			spans := r.ended(t, 2)
			client, server := spans[0], spans[1]
			if client.SpanContext().SpanID().String() != sent[1] || server.SpanContext().TraceID().String() != sent[0] {
				t.Errorf("the header %v is not of the spans", sent)
			}
			if server.Parent().IsValid() != tc.continued {
				t.Errorf("the server span's parent: %v", server.Parent().SpanID())
			}
		})
	}
}

func TestSpansAreTraefiks(t *testing.T) {
	for _, tc := range []struct {
		name           string
		status         int
		server, client codes.Code
	}{
		{"success", 200, codes.Unset, codes.Unset},
		{"redirect", 302, codes.Unset, codes.Unset},
		{"the client's mistake", 404, codes.Unset, codes.Error},
		{"the upstream's error", 500, codes.Error, codes.Error},
		{"an upstream's own 502", 502, codes.Error, codes.Error},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(tc.status) }))
			r.get(t, "uservice3.localhost", "/p/%ff?token=secret&a=b", nil)
			spans := r.ended(t, 2)
			client, server := spans[0], spans[1]
			if server.Name() != "GET" || server.SpanKind() != trace.SpanKindServer || server.Status().Code != tc.server {
				t.Errorf("server span %s %v %v", server.Name(), server.SpanKind(), server.Status())
			}
			if client.Name() != "ReverseProxy" || client.SpanKind() != trace.SpanKindClient || client.Status().Code != tc.client {
				t.Errorf("client span %s %v %v", client.Name(), client.SpanKind(), client.Status())
			}
			if client.Parent().SpanID() != server.SpanContext().SpanID() {
				t.Error("the client span is not under the server span")
			}
			for _, s := range spans {
				if got := attr(s, "http.response.status_code").AsInt64(); got != int64(tc.status) {
					t.Errorf("%s: status %d, want %d", s.Name(), got, tc.status)
				}
				if got := attr(s, "http.request.method").AsString(); got != "GET" {
					t.Errorf("%s: method %q", s.Name(), got)
				}
				if len(s.Events()) != 0 {
					t.Errorf("%s: has events", s.Name())
				}
				for _, kv := range s.Attributes() {
					if v := kv.Value.String(); strings.Contains(v, "secret") || strings.ToValidUTF8(v, "") != v {
						t.Errorf("%s: %s is %q", s.Name(), kv.Key, v)
					}
				}
			}
			for key, want := range map[string]string{
				"entry_point": "web", "url.query": "a=REDACTED&token=REDACTED", "url.path": "/p/\uFFFD", "url.scheme": "http",
				"server.address": "uservice3.localhost", "network.protocol.version": "1.1", "client.address": "127.0.0.1",
			} {
				if got := attr(server, key).AsString(); got != want {
					t.Errorf("server span: %s is %q, want %q", key, got, want)
				}
			}
		})
	}
}

func TestStreamsPassThroughAsTheyCome(t *testing.T) {
	next := make(chan struct{})
	r := newRig(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: 1\n")
		_ = http.NewResponseController(w).Flush()
		<-next
		_, _ = io.WriteString(w, "data: 2\n")
	}))
	req, _ := http.NewRequest(http.MethodGet, r.url, nil)
	req.Host = "uservice3.localhost"
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	if line, err := lines.ReadString('\n'); line != "data: 1\n" {
		t.Fatalf("%q %v", line, err)
	}
	close(next) // only now, so that the first line cannot have waited for the second
	if line, err := lines.ReadString('\n'); line != "data: 2\n" {
		t.Fatalf("%q %v", line, err)
	}
}

func TestProtocolSwitchPassesThrough(t *testing.T) {
	r := newRig(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_ = rw.Flush()
		line, _ := rw.ReadString('\n')
		_, _ = rw.WriteString("echo " + line)
		_ = rw.Flush()
	}))
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: uservice3.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	if err != nil || res.StatusCode != 101 {
		t.Fatalf("%v %v", res, err)
	}
	fmt.Fprint(conn, "hello\n")
	if line, err := in.ReadString('\n'); line != "echo hello\n" {
		t.Errorf("%q %v", line, err)
	}
	conn.Close()
	for _, s := range r.ended(t, 2) {
		if attr(s, "http.response.status_code").AsInt64() != 101 {
			t.Errorf("%s: status %v", s.Name(), attr(s, "http.response.status_code").String())
		}
	}
}

func TestConnectionsToTheUpstreamAreReusedUnderConcurrency(t *testing.T) {
	const clients, rounds = 20, 10
	var opened atomic.Int32
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	up.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	up.Start()
	defer up.Close()
	r := newRigTo(t, up.URL)
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for range rounds {
				rec := httptest.NewRecorder()
				req := httptest.NewRequest(http.MethodGet, "http://uservice3.localhost/", nil)
				r.gw.ServeHTTP(rec, req)
			}
		})
	}
	wg.Wait()
	// One per client, and some that were dialled while another became free.
	if n := opened.Load(); n > 3*clients {
		t.Errorf("%d connections for %d clients", n, clients)
	}
	r.gw.CloseIdleConnections()
}

func TestEachRequestIsOneLogLine(t *testing.T) {
	r := newRig(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	r.get(t, "uservice3.localhost", "/x?y=z", nil)
	waitFor(t, "log line", func() bool { return strings.HasSuffix(r.logs.String(), "\n") })
	var line struct {
		Msg, Level, Method, Host, Path, Query string
		Status                                int
		TraceID                               string `json:"trace_id"`
	}
	if err := json.Unmarshal([]byte(r.logs.String()), &line); err != nil {
		t.Fatalf("%v: %s", err, r.logs.String())
	}
	if line.Msg != "request" || line.Level != "INFO" || line.Method != "GET" || line.Host != "uservice3.localhost" ||
		line.Path != "/x" || line.Query != "y=z" || line.Status != 418 || line.TraceID != r.ended(t, 2)[0].SpanContext().TraceID().String() {
		t.Errorf("%+v", line)
	}
}

func TestDrainEndsEachConnectionWithItsAnswer(t *testing.T) {
	r := newRig(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for _, host := range []string{"uservice3.localhost", "unknown.localhost"} {
		if res, _ := r.get(t, host, "/", nil); res.Close {
			t.Errorf("the answer of %s closes its connection", host)
		}
	}
	r.gw.Drain()
	for _, host := range []string{"uservice3.localhost", "unknown.localhost"} {
		if res, _ := r.get(t, host, "/", nil); !res.Close {
			t.Errorf("the answer of %s keeps its connection", host)
		}
	}
}
