package gateway

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/contrib/propagators/jaeger"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// rig is a gateway in front of one upstream, with everything recorded.
type rig struct {
	url   string
	gw    *Gateway
	spans *tracetest.SpanRecorder
	logs  *safeBuffer
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newRig(t *testing.T, upstream http.Handler) *rig {
	t.Helper()
	up := httptest.NewServer(upstream)
	t.Cleanup(up.Close)
	return newRigTo(t, up.URL, 0)
}

func newRigTo(t *testing.T, upstream string, timeout time.Duration) *rig {
	t.Helper()
	u, err := url.Parse(upstream)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{spans: tracetest.NewSpanRecorder(), logs: &safeBuffer{}}
	provider := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.AlwaysSample())), sdktrace.WithSpanProcessor(r.spans))
	t.Cleanup(func() { _ = provider.Shutdown(context.Background()) })
	r.gw = New(Options{
		Routes:          map[string]*url.URL{"uservice3.localhost": u, "UService1.localhost.": u},
		TracerProvider:  provider,
		Propagator:      jaeger.Jaeger{},
		Logger:          slog.New(slog.NewJSONHandler(r.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
		ResponseTimeout: timeout,
	})
	front := httptest.NewServer(r.gw)
	t.Cleanup(front.Close)
	r.url = front.URL
	return r
}

// get asks for a path under a host name and returns the answer with its body.
func (r *rig) get(t *testing.T, host, path string, header http.Header) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, r.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	for name, values := range header {
		req.Header[name] = values
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

// ended waits for n spans: a handler may still be running when its client has the answer.
func (r *rig) ended(t *testing.T, n int) []sdktrace.ReadOnlySpan {
	t.Helper()
	waitFor(t, fmt.Sprintf("%d spans", n), func() bool { return len(r.spans.Ended()) >= n })
	spans := r.spans.Ended()
	if len(spans) != n {
		t.Fatalf("got %d spans, want %d", len(spans), n)
	}
	return spans
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("no %s within 5 s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func attr(s sdktrace.ReadOnlySpan, key string) attribute.Value {
	for _, kv := range s.Attributes() {
		if string(kv.Key) == key {
			return kv.Value
		}
	}
	return attribute.Value{}
}

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
		{"a route written oddly", "uservice1.localhost", 200},
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

func TestUnknownHostIsOneLoneSpanAndAPageThatHelps(t *testing.T) {
	r := newRig(t, http.NotFoundHandler())
	req := httptest.NewRequest(http.MethodGet, "/", nil)
	req.Host = "evil<script>.localhost:8000" // Go's client would not send it
	req.Header.Set("Accept", "text/html")
	rec := httptest.NewRecorder()
	r.gw.ServeHTTP(rec, req)
	res, body := rec.Result(), rec.Body.String()
	if res.StatusCode != 404 || res.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("got %d %s", res.StatusCode, res.Header.Get("Content-Type"))
	}
	for _, want := range []string{"http://uservice1.localhost:8000/", "http://uservice3.localhost:8000/", "evil&lt;script&gt;"} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in %s", want, body)
		}
	}
	if strings.Contains(body, "<script>") {
		t.Errorf("the host name is not escaped: %s", body)
	}
	for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"} {
		if res.Header.Get(name) != want {
			t.Errorf("%s: %q", name, res.Header.Get(name))
		}
	}
	if !strings.HasPrefix(res.Header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("Content-Security-Policy: %q", res.Header.Get("Content-Security-Policy"))
	}
	s := r.ended(t, 1)[0]
	if s.Name() != "GET" || s.Status().Code != codes.Unset || attr(s, "http.response.status_code").AsInt64() != 404 {
		t.Errorf("span %s %v", s.Name(), s.Status())
	}
}

func TestPagesArePlainTextForCurl(t *testing.T) {
	r := newRig(t, http.NotFoundHandler())
	res, body := r.get(t, "nix", "/", http.Header{"Accept": {"*/*"}})
	if res.Header.Get("Content-Type") != "text/plain; charset=utf-8" || !strings.Contains(body, "\n  http://uservice3.localhost/\n") {
		t.Errorf("%s\n%s", res.Header.Get("Content-Type"), body)
	}
}

func TestUpstreamThatIsDownIsA502(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	r := newRigTo(t, "http://"+addr, 0)
	res, body := r.get(t, "uservice3.localhost", "/", http.Header{"Accept": {"text/html"}})
	if res.StatusCode != 502 || !strings.Contains(body, "cannot be reached") || strings.Contains(body, addr) {
		t.Errorf("got %d: %s", res.StatusCode, body)
	}
	for _, s := range r.ended(t, 2) {
		if s.Status().Code != codes.Error || attr(s, "http.response.status_code").AsInt64() != 502 {
			t.Errorf("%s: %v %v", s.Name(), s.Status(), attr(s, "http.response.status_code"))
		}
	}
	waitFor(t, "log line with the cause", func() bool { return strings.Contains(r.logs.String(), "connection refused") })
}

func TestUpstreamThatBreaksOffIsA502(t *testing.T) {
	r := newRig(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	if res, _ := r.get(t, "uservice3.localhost", "/", nil); res.StatusCode != 502 {
		t.Errorf("got %d", res.StatusCode)
	}
}

func TestUpstreamThatIsTooSlowIsA504(t *testing.T) {
	release := make(chan struct{})
	up := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer up.Close()
	defer close(release)
	r := newRigTo(t, up.URL, 20*time.Millisecond)
	res, body := r.get(t, "uservice3.localhost", "/", nil)
	if res.StatusCode != 504 || !strings.Contains(body, "too slow") {
		t.Errorf("got %d: %s", res.StatusCode, body)
	}
	for _, s := range r.ended(t, 2) {
		if s.Status().Code != codes.Error || attr(s, "http.response.status_code").AsInt64() != 504 {
			t.Errorf("%s: %v", s.Name(), s.Status())
		}
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

func TestAnswerThatBreaksInTheMiddleIsCutAndStillTraced(t *testing.T) {
	r := newRig(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	req, _ := http.NewRequest(http.MethodGet, r.url, nil)
	req.Host = "uservice3.localhost"
	res, err := http.DefaultTransport.RoundTrip(req)
	if err == nil {
		_, err = io.ReadAll(res.Body)
		res.Body.Close()
	}
	if err == nil {
		t.Error("the client got a whole answer")
	}
	r.ended(t, 2)
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
	r := newRigTo(t, up.URL, 0)
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

func TestWithoutTracingHeadersPassUntouched(t *testing.T) {
	got := make(chan string, 1)
	up := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.Header.Get("Uber-Trace-Id") }))
	defer up.Close()
	u, _ := url.Parse(up.URL)
	req := httptest.NewRequest(http.MethodGet, "http://a.localhost/", nil)
	req.Header.Set("Uber-Trace-Id", "1:2:0:1")
	New(Options{Routes: map[string]*url.URL{"a.localhost": u}}).ServeHTTP(httptest.NewRecorder(), req)
	if h := <-got; h != "1:2:0:1" {
		t.Errorf("got %q", h)
	}
}
