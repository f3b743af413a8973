package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
)

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
	r := newRigTo(t, "http://"+addr)
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
	r := newRigTo(t, up.URL)
	r.gw.transport.ResponseHeaderTimeout = 20 * time.Millisecond
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
