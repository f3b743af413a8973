package explorer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"regexp"
	"strings"
	"testing"
	"time"
)

// fake is a server that remembers what it was asked.
type fake struct {
	*httptest.Server
	asked chan *http.Request
}

func newFake(t *testing.T, h http.HandlerFunc) *fake {
	t.Helper()
	f := &fake{asked: make(chan *http.Request, 100)}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.asked <- r
		h(w, r)
	}))
	t.Cleanup(f.Close)
	return f
}

func parse(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// nowhere is a URL at which nobody listens: discard's port.
const nowhere = "http://127.0.0.1:9"

// ask sends one request to an explorer as a page of its own would.
func ask(t *testing.T, h http.Handler, method, target, body string, header http.Header) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	r.Host = "localhost:3000"
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	for name, values := range header {
		r.Header[name] = values
	}
	if host := header.Get("Host"); host != "" {
		r.Host = host
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// sentence reads the error of an answer; there must be one.
func sentence(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	var answer struct{ Error string }
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || !strings.HasSuffix(answer.Error, ".") && !strings.HasSuffix(answer.Error, "?") {
		t.Errorf("the error is no sentence: %s", w.Body)
	}
	return answer.Error
}

func TestThePageNeedsNothingFromElsewhere(t *testing.T) {
	foreign := regexp.MustCompile(`(https?:)?//[a-z0-9]`)
	entries, err := fs.ReadDir(embedded, "web")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		data, err := fs.ReadFile(embedded, "web/"+entry.Name())
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(data), "http://www.w3.org/2000/svg", "") // a name, which nobody fetches
		if found := foreign.FindString(text); found != "" {
			t.Errorf("%s names another host: %s", entry.Name(), found)
		}
		if mediaTypes[path.Ext(entry.Name())] == "" {
			t.Errorf("%s has no media type", entry.Name())
		}
		if strings.Contains(text, "innerHTML") || strings.Contains(text, "insertAdjacentHTML") || strings.Contains(text, " style=") {
			t.Errorf("%s makes markup of text, or has an inline style, which the page's policy refuses", entry.Name())
		}
	}
}

func TestAddresses(t *testing.T) {
	h := New(Options{Tempo: parse(t, nowhere), Gateway: parse(t, nowhere)})
	for name, test := range map[string]struct {
		method, path string
		status       int
		mediaType    string
	}{
		"the page":                      {"GET", "/", 200, "text/html; charset=utf-8"},
		"a trace":                       {"GET", "/trace/0123456789abcdef0123456789ABCDEF", 200, "text/html; charset=utf-8"},
		"a trace without leading zeros": {"GET", "/trace/1f", 200, "text/html; charset=utf-8"},
		"what is no trace id":           {"GET", "/trace/xyz", 404, "text/html; charset=utf-8"},
		"an id that is too long":        {"GET", "/trace/" + strings.Repeat("1", 33), 404, "text/html; charset=utf-8"},
		"a module":                      {"GET", "/assets/app.js", 200, "text/javascript; charset=utf-8"},
		"the style sheet":               {"GET", "/assets/style.css", 200, "text/css; charset=utf-8"},
		"no such asset":                 {"GET", "/assets/nothing.js", 404, "application/json"},
		"a way out of the assets":       {"GET", "/assets/..%2fserver.go", 404, "application/json"},
		"nothing":                       {"GET", "/nowhere", 404, "application/json"},
		"a ledger that nobody keeps":    {"GET", "/api/ledger?trace=1", 404, "application/json"},
		"faults that nobody can make":   {"GET", "/api/faults", 404, "application/json"},
	} {
		t.Run(name, func(t *testing.T) {
			w := ask(t, h, test.method, test.path, "", nil)
			if w.Code != test.status || w.Header().Get("Content-Type") != test.mediaType {
				t.Errorf("answered %d %s, want %d %s", w.Code, w.Header().Get("Content-Type"), test.status, test.mediaType)
			}
			if test.mediaType == "application/json" {
				sentence(t, w)
			}
			for header, want := range map[string]string{
				"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin",
			} {
				if w.Header().Get(header) != want {
					t.Errorf("%s is %q, want %q", header, w.Header().Get(header), want)
				}
			}
			policy := w.Header().Get("Content-Security-Policy")
			if !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "frame-ancestors 'none'") || strings.Contains(policy, "unsafe") {
				t.Errorf("policy %q", policy)
			}
		})
	}
}

func TestAnAssetIsSentOnce(t *testing.T) {
	h := New(Options{Tempo: parse(t, nowhere), Gateway: parse(t, nowhere)})
	first := ask(t, h, "GET", "/assets/app.js", "", nil)
	again := ask(t, h, "GET", "/assets/app.js", "", http.Header{"If-None-Match": {first.Header().Get("Etag")}})
	if again.Code != http.StatusNotModified || again.Body.Len() != 0 {
		t.Errorf("answered %d with %d bytes", again.Code, again.Body.Len())
	}
}

func TestOnlyThisMachinesNamesAreAnswered(t *testing.T) {
	h := New(Options{Tempo: parse(t, nowhere), Gateway: parse(t, nowhere)})
	for host, want := range map[string]int{
		"localhost": 200, "localhost:3000": 200, "LOCALHOST.:3000": 200, "explorer.localhost": 200,
		"127.0.0.1:3000": 200, "127.0.0.2": 200, "[::1]:3000": 200, "[::1]": 200,
		"192.0.2.7:3000":    200, // the listener's own address
		"192.0.2.8:3000":    421,
		"evil.example":      421,
		"localhost.evil":    421,
		"127.0.0.1.evil.io": 421,
		"evillocalhost":     421,
		"":                  421,
	} {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
		r.Host = host
		local := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 3000}
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(local)))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("host %q: answered %d, want %d", host, w.Code, want)
		}
		if want != 200 {
			sentence(t, w)
		}
	}
}

func TestOtherSitesCannotWrite(t *testing.T) {
	gateway := newFake(t, func(http.ResponseWriter, *http.Request) {})
	h := New(Options{Tempo: parse(t, nowhere), Gateway: parse(t, gateway.URL)})
	const call = `{"service":"uservice1"}`
	for name, test := range map[string]struct {
		header http.Header
		body   string
		want   int
	}{
		"the page itself":                  {http.Header{"Sec-Fetch-Site": {"same-origin"}, "Origin": {"http://localhost:3000"}}, call, 200},
		"a program":                        {nil, call, 200},
		"another site":                     {http.Header{"Sec-Fetch-Site": {"cross-site"}, "Origin": {"http://evil.example"}}, call, 403},
		"another port of this machine":     {http.Header{"Sec-Fetch-Site": {"same-site"}, "Origin": {"http://localhost:8000"}}, call, 403},
		"another site with an old browser": {http.Header{"Origin": {"http://evil.example"}}, call, 403},
		"a form":                           {http.Header{"Content-Type": {"text/plain"}}, call, 415},
		"no type":                          {http.Header{"Content-Type": nil}, call, 415},
		"a long body":                      {nil, `{"service":"` + strings.Repeat("x", maxRequestBytes) + `"}`, 413},
		"no JSON":                          {nil, `service=uservice1`, 400},
		"a field that there is not":        {nil, `{"service":"uservice1","path":"/admin"}`, 400},
	} {
		t.Run(name, func(t *testing.T) {
			w := ask(t, h, "POST", "/api/call", test.body, test.header)
			if w.Code != test.want {
				t.Errorf("answered %d, want %d: %s", w.Code, test.want, w.Body)
			}
			if w.Code != 200 {
				sentence(t, w)
			}
		})
	}
}

func TestACallGoesThroughTheProxy(t *testing.T) {
	const traced = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for name, test := range map[string]struct {
		body          string
		status        int
		traceResponse string
		host, query   string
		traceID       string
	}{
		"to a service that tells its trace": {`{"service":"uservice3"}`, 200, traced, "uservice3.localhost", "", "0af7651916cd43dd8448eb211c80319c"},
		"to a plain one":                    {`{"service":"uservice1"}`, 200, "", "uservice1.localhost", "", ""},
		"that shall fail and be slow":       {`{"service":"uservice4","fail":"database","slow":"redis"}`, 500, traced, "uservice4.localhost", "fail=database&slow=redis", "0af7651916cd43dd8448eb211c80319c"},
		"whose trace is not sampled":        {`{"service":"uservice3"}`, 200, strings.TrimSuffix(traced, "1") + "0", "uservice3.localhost", "", "0af7651916cd43dd8448eb211c80319c"},
		"answered with a redirect":          {`{"service":"uservice2"}`, 302, "", "uservice2.localhost", "", ""},
		"answered with a strange id":        {`{"service":"uservice3"}`, 200, "00-<b>-x-01", "uservice3.localhost", "", ""},
		"answered with no id":               {`{"service":"uservice3"}`, 200, "00-" + strings.Repeat("0", 32) + "-b7ad6b7169203331-01", "uservice3.localhost", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			gateway := newFake(t, func(w http.ResponseWriter, _ *http.Request) {
				if test.traceResponse != "" {
					w.Header().Set("Traceresponse", test.traceResponse)
				}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(test.status)
			})
			w := ask(t, New(Options{Tempo: parse(t, nowhere), Gateway: parse(t, gateway.URL)}), "POST", "/api/call", test.body, nil)
			var got callResult
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 {
				t.Fatalf("answered %d: %s", w.Code, w.Body)
			}
			sent := <-gateway.asked
			name, port, _ := net.SplitHostPort(sent.Host)
			if name != test.host || port != parse(t, gateway.URL).Port() || sent.URL.RawQuery != test.query || sent.URL.Path != "/" || sent.Method != "GET" {
				t.Errorf("sent %s %s to %s", sent.Method, sent.URL, sent.Host)
			}
			if got.Status != test.status || got.TraceID != test.traceID || got.DurationMS <= 0 || got.Started == 0 || got.Sampled != (test.traceResponse == traced) {
				t.Errorf("told %+v", got)
			}
			if agent := sent.UserAgent(); agent != got.UserAgent || !regexp.MustCompile(`^demo-explorer/[0-9a-f]{16}$`).MatchString(agent) {
				t.Errorf("user agent %q, told %q", agent, got.UserAgent)
			}
			if len(gateway.asked) != 0 {
				t.Error("the redirect was followed")
			}
		})
	}
}

func TestACallThatCannotBeMadeSaysWhy(t *testing.T) {
	stopped := newFake(t, nil)
	stopped.Close()
	for name, test := range map[string]struct {
		body string
		want int
		says string
	}{
		"to nobody":             {`{"service":"example.com"}`, 400, "uservice1"},
		"with another failure":  {`{"service":"uservice1","fail":"disk"}`, 400, "redis or database"},
		"with another slowness": {`{"service":"uservice1","slow":"disk"}`, 400, "redis or database"},
		"through no proxy":      {`{"service":"uservice1"}`, 502, "Is it running?"},
	} {
		t.Run(name, func(t *testing.T) {
			w := ask(t, New(Options{Tempo: parse(t, nowhere), Gateway: parse(t, stopped.URL)}), "POST", "/api/call", test.body, nil)
			if says := sentence(t, w); w.Code != test.want || !strings.Contains(says, test.says) {
				t.Errorf("answered %d %q, want %d and %q", w.Code, says, test.want, test.says)
			}
		})
	}
}

func TestCallsAreBounded(t *testing.T) {
	arrived, leave := make(chan struct{}, maxCalls), make(chan struct{})
	gateway := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-leave
	}))
	defer gateway.Close()
	h := New(Options{Tempo: parse(t, nowhere), Gateway: parse(t, gateway.URL)})
	answered := make(chan int, maxCalls)
	for range maxCalls {
		go func() { answered <- ask(t, h, "POST", "/api/call", `{"service":"uservice1"}`, nil).Code }()
	}
	for range maxCalls {
		<-arrived
	}
	if w := ask(t, h, "POST", "/api/call", `{"service":"uservice1"}`, nil); w.Code != http.StatusTooManyRequests {
		t.Errorf("one too many was answered %d", w.Code)
	}
	close(leave)
	for range maxCalls {
		if code := <-answered; code != 200 {
			t.Errorf("answered %d", code)
		}
	}
}

func TestOnlyAFewPathsOfTempoAreReached(t *testing.T) {
	for name, test := range map[string]struct {
		method, path string
		want         string // what Tempo is asked; "" is nothing
		status       int
	}{
		"ready":               {"GET", "/tempo/ready", "/base/ready", 200},
		"echo":                {"GET", "/tempo/api/echo", "/base/api/echo", 200},
		"search":              {"GET", "/tempo/api/search?tags=a%3Db&limit=5", "/base/api/search?tags=a%3Db&limit=5", 200},
		"a trace":             {"GET", "/tempo/api/v2/traces/1f", "/base/api/v2/traces/1f", 200},
		"a trace as v1":       {"GET", "/tempo/api/traces/1f", "/base/api/traces/1f", 200},
		"what is no trace id": {"GET", "/tempo/api/v2/traces/..", "", 404},
		"an encoded way up":   {"GET", "/tempo/api/v2/traces/%2e%2e%2fflush", "", 400},
		"the rest":            {"GET", "/tempo/flush", "", 404},
		"the status":          {"GET", "/tempo/status/config", "", 404},
		"a write":             {"POST", "/tempo/api/search", "", 404},
		"a delete":            {"DELETE", "/tempo/api/traces/1f", "", 404},
	} {
		t.Run(name, func(t *testing.T) {
			tempo := newFake(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("Set-Cookie", "a=b")
				_, _ = io.WriteString(w, "{}")
			})
			h := New(Options{Tempo: parse(t, tempo.URL+"/base"), Gateway: parse(t, nowhere)})
			w := ask(t, h, test.method, test.path, "", http.Header{"Cookie": {"secret"}, "Authorization": {"secret"}})
			if w.Code == http.StatusTemporaryRedirect || w.Code == http.StatusMovedPermanently { // the mux cleans a path
				w = ask(t, h, test.method, w.Header().Get("Location"), "", nil)
			}
			if w.Code != test.status {
				t.Errorf("answered %d, want %d: %s", w.Code, test.status, w.Body)
			}
			if test.want == "" {
				if len(tempo.asked) > 0 {
					t.Errorf("Tempo was asked for %s", (<-tempo.asked).URL)
				}
				return
			}
			asked := <-tempo.asked
			if asked.URL.String() != test.want {
				t.Errorf("Tempo was asked for %s, want %s", asked.URL, test.want)
			}
			if asked.Header.Get("Cookie")+asked.Header.Get("Authorization")+asked.Header.Get("X-Forwarded-For") != "" {
				t.Errorf("Tempo was told %v", asked.Header)
			}
			if w.Header().Get("Set-Cookie") != "" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("the page was told %v", w.Header())
			}
		})
	}
}

func TestTemposErrorsArePassedOn(t *testing.T) {
	tempo := newFake(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, "invalid TraceQL query")
	})
	w := ask(t, New(Options{Tempo: parse(t, tempo.URL), Gateway: parse(t, nowhere)}), "GET", "/tempo/api/search?q=x", "", nil)
	if w.Code != 400 || w.Body.String() != "invalid TraceQL query" {
		t.Errorf("answered %d %s", w.Code, w.Body)
	}
}

func TestATempoThatIsDownIsASentence(t *testing.T) {
	stopped := newFake(t, nil)
	stopped.Close()
	w := ask(t, New(Options{Tempo: parse(t, stopped.URL), Gateway: parse(t, nowhere)}), "GET", "/tempo/api/search", "", nil)
	if w.Code != http.StatusBadGateway || !strings.Contains(sentence(t, w), stopped.URL) {
		t.Errorf("answered %d %s", w.Code, w.Body)
	}
}

func TestTheConfigurationFitsTheTempo(t *testing.T) {
	for name, test := range map[string]struct {
		tempo http.HandlerFunc
		query string
	}{
		"that takes hints":     {func(http.ResponseWriter, *http.Request) {}, newestTraces},
		"that takes none":      {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(400) }, allTraces},
		"that is out of order": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, allTraces},
	} {
		t.Run(name, func(t *testing.T) {
			tempo := newFake(t, test.tempo)
			withSecret := parse(t, tempo.URL)
			withSecret.User = url.UserPassword("user", "hunter2")
			w := ask(t, New(Options{Tempo: withSecret, Gateway: parse(t, nowhere)}), "GET", "/api/config", "", nil)
			var got struct {
				Services       []Service
				Ledger, Faults bool
				Query          string
			}
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if got.Query != test.query || got.Ledger || got.Faults || len(got.Services) != 4 {
				t.Errorf("told %+v", got)
			}
			if s := got.Services[0]; s.Name != "uservice1" || s.Host != "uservice1.localhost" || !s.Plain || s.Twin != "uservice3" {
				t.Errorf("told %+v of the first service", s)
			}
			if strings.Contains(w.Body.String(), "hunter2") {
				t.Error("a password is told")
			}
		})
	}
}

func TestAnEmptyLedgerIsNoFailure(t *testing.T) {
	ledger := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("trace") == "1" {
			_, _ = io.WriteString(w, `{"requests":[{}]}`)
			return
		}
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"error":"nothing is known of this trace"}`)
	})
	h := New(Options{Tempo: parse(t, nowhere), Gateway: parse(t, nowhere), Ledger: ledger})
	for trace, want := range map[string]string{"1": `{"requests":[{}]}`, "2": `{"requests":[]}`} {
		w := ask(t, h, "GET", "/api/ledger?trace="+trace, "", nil)
		if w.Code != 200 || strings.TrimSpace(w.Body.String()) != want {
			t.Errorf("trace %s: answered %d %s, want %s", trace, w.Code, w.Body, want)
		}
	}
}

// fakeFaults cannot mend.
type fakeFaults struct{ active string }

func (f *fakeFaults) Active() string { return f.active }
func (f *fakeFaults) Set(_ context.Context, name string) error {
	if name == "" {
		return errors.New("uservice4 did not start again")
	}
	f.active = name
	return nil
}

func TestFaults(t *testing.T) {
	h := New(Options{Tempo: parse(t, nowhere), Gateway: parse(t, nowhere), Faults: &fakeFaults{}})
	for _, test := range []struct {
		name, method, body string
		status             int
		has                string
	}{
		{"are listed", "GET", "", 200, `"active":""`},
		{"can be turned on", "POST", `{"name":"drop-header"}`, 200, `"active":"drop-header"`},
		{"are known", "POST", `{"name":"fire"}`, 400, "no such fault"},
		{"may be hard to mend", "POST", `{"name":""}`, 500, "did not start again"},
		{"stay on then", "GET", "", 200, `"active":"drop-header"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := ask(t, h, test.method, "/api/faults", test.body, nil)
			if w.Code != test.status || !bytes.Contains(w.Body.Bytes(), []byte(test.has)) {
				t.Errorf("answered %d %s", w.Code, w.Body)
			}
		})
	}
}

func TestAPageThatIsGoneEndsTheCall(t *testing.T) {
	arrived, ended := make(chan struct{}), make(chan struct{})
	gateway := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
		close(ended)
	}))
	defer gateway.Close()
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		<-arrived
		leave()
	}()
	r := httptest.NewRequestWithContext(ctx, "POST", "/api/call", strings.NewReader(`{"service":"uservice1"}`))
	r.Host = "localhost"
	r.Header.Set("Content-Type", "application/json")
	New(Options{Tempo: parse(t, nowhere), Gateway: parse(t, gateway.URL)}).ServeHTTP(httptest.NewRecorder(), r)
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the call goes on")
	}
}
