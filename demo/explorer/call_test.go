package explorer

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

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
			if got.Status != test.status || got.TraceID != test.traceID || got.DurationMS <= 0 || got.Sampled != (test.traceResponse == traced) {
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
