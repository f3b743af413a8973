package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// startEnv starts the service so that it answers at once; nobody listens on its upstream's port,
// which is discard's.
var startEnv = map[string]string{"UPSTREAM": "http://127.0.0.1:9", "REDIS_MIN": "0s", "REDIS_MAX": "0s"}

// newServiceFor returns a service without delays, with the given upstream.
func newServiceFor(upstream string, logs io.Writer) *service {
	return newService(config{serviceConfig: serviceConfig{upstream: upstream, redis: mock{name: "redis"}}},
		slog.New(slog.NewJSONHandler(logs, nil)))
}

// call sends one request to a service with the given upstream.
func call(method, target, upstream string) (*httptest.ResponseRecorder, *logBuffer) {
	logs := &logBuffer{}
	s := newServiceFor(upstream, logs)
	s.timeout = time.Second
	res := httptest.NewRecorder()
	s.handler().ServeHTTP(res, httptest.NewRequest(method, target, nil))
	return res, logs
}

func TestAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		method, target string
		upstream       int // what the other service answers
		want           int
		calls          int    // of the other service
		page           string // part of the page
	}{
		"all is well":             {target: "/", upstream: 200, want: 200, calls: 1, page: "Hello, world!"},
		"Redis fails":             {target: "/?fail=redis", want: 500, page: "Redis"},
		"the other service fails": {target: "/?fail=database", upstream: 500, want: 502, calls: 1, page: "behind this one failed"},
		"an unknown wish":         {target: "/?fail=<b>", want: 400, page: "fail and slow take"},
		"a malformed query":       {target: "/?fail=%zz", want: 400, page: "fail and slow take"},
		"another path":            {target: "/nowhere", want: 404, page: "only one page"},
		"another method":          {method: "POST", target: "/", want: 405, page: "only be read"},
		"HEAD is as good as GET":  {method: "HEAD", target: "/", upstream: 200, want: 200, calls: 1},
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				calls++
				if _, query, _ := strings.Cut(test.target, "?"); r.URL.RawQuery != query {
					t.Errorf("the query that travels on is %q", r.URL.RawQuery)
				}
				w.WriteHeader(test.upstream)
				io.WriteString(w, "the answer")
			}))
			defer upstream.Close()
			res, logs := call(test.method, test.target, upstream.URL)
			page, answers, failures := res.Body.String(), logs.lines(t, "answer of other service"), logs.lines(t, "request failed")
			if res.Code != test.want || !strings.Contains(page, test.page) || strings.Contains(page, "<b>") {
				t.Errorf("answered %d, want %d; page: %s", res.Code, test.want, page)
			}
			if calls != test.calls || len(answers) != calls || test.upstream == 200 && (answers[0]["status"] != 200. || answers[0]["body"] != "the answer") {
				t.Errorf("%d calls of the other service, want %d; logged answers %v", calls, test.calls, answers)
			}
			if (len(failures) == 1) != (test.want != 200) {
				t.Errorf("logged failures %v", failures)
			}
		})
	}
}

// raw answers with bytes, and closes the connection with the end of the test or at once.
func raw(answer string, leaveOpen bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, _, _ := w.(http.Hijacker).Hijack()
		io.WriteString(conn, answer)
		if leaveOpen { // until the caller closes it
			io.Copy(io.Discard, conn)
		}
		conn.Close()
	}
}

func TestABadUpstreamIsAPageAndNeverAPanic(t *testing.T) {
	for name, test := range map[string]struct {
		serve http.HandlerFunc
		want  int
	}{
		"too slow": {want: 504, serve: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
		"too slow with its body": {want: 504, serve: func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}},
		"reset":               {want: 502, serve: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
		"no HTTP":             {want: 502, serve: raw("SSH-2.0-OpenSSH_9.9\r\n", false)},
		"cut off":             {want: 502, serve: raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", false)},
		"switching protocols": {want: 502, serve: raw("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", true)},
		"a redirect, which would lead to 200": {want: 502, serve: func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/elsewhere" {
				http.Redirect(w, r, "/elsewhere", http.StatusFound)
			}
		}},
		"headers without an end": {want: 502, serve: func(w http.ResponseWriter, _ *http.Request) {
			conn, _, _ := w.(http.Hijacker).Hijack()
			io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
			for err := error(nil); err == nil; {
				_, err = io.WriteString(conn, "X-Header: "+strings.Repeat("x", 1<<20)+"\r\n")
			}
			conn.Close()
		}},
		"too long": {want: 502, serve: func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, maxAnswerBytes+1)) }},
	} {
		t.Run(name, func(t *testing.T) {
			upstream := httptest.NewServer(test.serve)
			defer upstream.Close()
			res, logs := call(http.MethodGet, "/", upstream.URL)
			if page := res.Body.String(); res.Code != test.want || strings.Contains(page, upstream.URL) || !strings.Contains(page, strconv.Itoa(test.want)) {
				t.Errorf("answered %d, want %d; page %s; logged %s", res.Code, test.want, page, logs)
			}
		})
	}
}

func TestACallerWhoHangsUpEndsTheWork(t *testing.T) {
	ctx, hangUp := context.WithCancel(t.Context())
	ended := make(chan struct{})
	upstream := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		hangUp()
		<-r.Context().Done()
		close(ended)
	}))
	defer upstream.Close()
	logs := &logBuffer{}
	req := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
	newServiceFor(upstream.URL, logs).handler().ServeHTTP(httptest.NewRecorder(), req)
	<-ended
	if lines := logs.lines(t, "request failed"); len(lines) != 1 || lines[0]["status"] != float64(statusClientClosedRequest) {
		t.Errorf("logged %v", lines)
	}
}

func TestConnectionsAreReusedUnderConcurrency(t *testing.T) {
	const visitors, rounds = 50, 4
	var opened sync.Map // by the address that a connection comes from
	var together sync.WaitGroup
	upstream := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		opened.Store(r.RemoteAddr, true)
		together.Done()
		together.Wait() // all visitors of a round hold a connection at the same time
	}))
	defer upstream.Close()
	s := newServiceFor(upstream.URL, io.Discard)
	for range rounds {
		together.Add(visitors)
		var round sync.WaitGroup
		for range visitors {
			round.Go(func() {
				if err := s.callOtherUService(t.Context(), ""); err != nil {
					t.Error(err)
				}
			})
		}
		round.Wait()
	}
	connections := 0
	opened.Range(func(any, any) bool { connections++; return true })
	// A round may find a connection not yet back among the idle ones and open another.
	if connections > visitors*3/2 {
		t.Errorf("%d connections for %d visitors in %d rounds", connections, visitors, rounds)
	}
}
