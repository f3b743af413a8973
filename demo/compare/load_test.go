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
	for name, test := range map[string]struct {
		serve http.HandlerFunc
		want  string // the error that is counted, or none
	}{
		"all is well": {serve: func(w http.ResponseWriter, r *http.Request) {
			if r.Host != "x.localhost" {
				http.NotFound(w, r)
			}
			w.(http.Flusher).Flush()
			io.WriteString(w, "ok")
		}},
		"a failure": {serve: func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusServiceUnavailable) }, want: "503 Service Unavailable"},
		"no answer": {serve: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, want: "EOF"},
		"an answer cut off": {serve: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9")
		}, want: "unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(test.serve)
			defer server.Close()
			l := load{addr: server.Listener.Addr().String(), host: "x.localhost", connections: 2, requests: 6, duration: time.Minute}
			res, err := l.run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			want, answered := map[string]int64{}, uint64(6)
			if test.want != "" {
				want[test.want], answered = 6, 0
			}
			if res.Requests != answered || !maps.Equal(res.failed, want) || (res.Throughput > 0) != (answered > 0) {
				t.Errorf("answered %d, failed %v, %v per second", res.Requests, res.failed, res.Throughput)
			}
		})
	}
}

func TestRequestsUnderWayAreWaitedFor(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	time.AfterFunc(50*time.Millisecond, func() { close(release) })
	res, err := load{addr: server.Listener.Addr().String(), connections: 4, duration: time.Millisecond}.run(t.Context())
	if err != nil || res.Requests == 0 || res.Latencies.Max == 0 {
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
