package compare

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestTheLoadCountsWhatItSees(t *testing.T) {
	stopped := httptest.NewServer(nil)
	stopped.Close()
	for name, test := range map[string]struct {
		serve http.HandlerFunc // nil: nobody listens
		want  string           // the error that is counted, or none
	}{
		"all is well": {serve: func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }},
		"an answer in pieces": {serve: func(w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			io.WriteString(w, "ok")
		}},
		"no keep-alive": {serve: func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") }},
		"a failure": {serve: func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "no", http.StatusServiceUnavailable)
		}, want: "answered 503 Service Unavailable"},
		"no answer": {serve: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
			want: "connection closed without an answer"},
		"nobody": {want: "connect: connection refused"},
		"another protocol": {serve: func(w http.ResponseWriter, _ *http.Request) { hijack(w, "SSH-2.0-OpenSSH_9.9\r\n") },
			want: "no HTTP answer"},
		"an answer cut off": {serve: func(w http.ResponseWriter, _ *http.Request) {
			hijack(w, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")
		}, want: "connection closed without an answer"},
		"hosts are named well": {serve: func(w http.ResponseWriter, r *http.Request) { checkHost(w, r, "x.localhost") }},
	} {
		t.Run(name, func(t *testing.T) {
			addr := stopped.Listener.Addr().String()
			if test.serve != nil {
				server := httptest.NewServer(test.serve)
				defer server.Close()
				addr = server.Listener.Addr().String()
			}
			res, err := load{addr: addr, host: "x.localhost", connections: 2, requests: 3, duration: time.Minute}.run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			want, answered := map[string]int64{}, int64(6)
			if test.want != "" {
				want[test.want], answered = 6, 0
			}
			counted := res.answered == answered && res.inTime == answered && res.latencies.TotalCount() == answered
			if !counted || !maps.Equal(res.errors, want) {
				t.Errorf("answered %d, in time %d, errors %v", res.answered, res.inTime, res.errors)
			}
		})
	}
}

func hijack(w http.ResponseWriter, text string) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		io.WriteString(conn, text)
		conn.Close()
	}
}

func checkHost(w http.ResponseWriter, r *http.Request, want string) {
	if r.Host != want {
		http.Error(w, r.Host, http.StatusBadRequest)
	}
}

func TestRequestsUnderWayAreWaitedFor(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	time.AfterFunc(50*time.Millisecond, func() { close(release) })
	res, err := load{addr: server.Listener.Addr().String(), connections: 4, duration: time.Millisecond}.run(t.Context())
	if err != nil || res.answered != 4 || res.inTime != 0 || res.latencies.TotalCount() != 4 {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestALoadEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}))
	defer server.Close()
	_, err := load{addr: server.Listener.Addr().String(), connections: 4, duration: time.Hour}.run(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
