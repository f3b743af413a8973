package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// startEnv is enough to start; nobody listens on the proxy's port, which is discard's.
var startEnv = map[string]string{"PROXY": "http://127.0.0.1:9", "HOSTS": "a.localhost,b.localhost"}

func TestSettings(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	taken := listener.Addr().String()
	tooMany := "a"
	for i := range maxHosts {
		tooMany += fmt.Sprint(",b", i)
	}
	for name, test := range map[string]struct {
		env  map[string]string
		args []string
		want string // part of the error, or of the usage; empty for none
		code int
	}{
		"-help prints the usage and is no error":         {args: []string{"-help"}, want: "(LIVE_AFTER)"},
		"a misspelled flag is an error":                  {args: []string{"-adr", ":1"}, want: "-adr", code: 2},
		"an argument is an error":                        {args: []string{"serve"}, want: `"serve"`, code: 1},
		"a malformed flag is an error":                   {args: []string{"-interval", "15"}, want: "-interval", code: 2},
		"a malformed variable is an error that names it": {env: map[string]string{"INTERVAL": "15"}, want: `INTERVAL="15": want a value such as 15s`, code: 1},
		"an address without a port is an error":          {args: []string{"-addr", "localhost"}, want: "localhost", code: 1},
		"a taken port is an error that names it":         {args: []string{"-addr", taken}, want: taken, code: 1},
		"no proxy is an error":                           {env: map[string]string{"PROXY": ""}, want: "set -proxy or PROXY", code: 1},
		"a proxy without a scheme is an error":           {args: []string{"-proxy", "127.0.0.1:8000"}, want: "http://host:port", code: 1},
		"a proxy of another kind is an error":            {args: []string{"-proxy", "socks5://localhost"}, want: "socks5", code: 1},
		"a proxy with a path is an error":                {args: []string{"-proxy", "http://localhost/x"}, want: "nothing after it", code: 1},
		"a proxy that is no URL is an error":             {args: []string{"-proxy", "http://a b"}, want: "http://a b", code: 1},
		"no hosts is an error":                           {env: map[string]string{"HOSTS": " , "}, want: "set -hosts or HOSTS", code: 1},
		"a URL as host is an error":                      {env: map[string]string{"HOSTS": "a,http://b"}, want: `"http://b"`, code: 1},
		"a host with a path is an error":                 {env: map[string]string{"HOSTS": "a/b"}, want: `"a/b"`, code: 1},
		"too many hosts are an error":                    {env: map[string]string{"HOSTS": tooMany}, want: "at most 32", code: 1},
		"an interval that is a load test is an error":    {args: []string{"-interval", "10ms"}, want: "-interval 10ms", code: 1},
		"a negative interval is an error":                {args: []string{"-interval", "-1s"}, want: "-interval -1s", code: 1},
		"a timeout beyond the stop's is an error":        {args: []string{"-timeout", "15s"}, want: "-timeout 15s", code: 1},
		"no timeout is an error":                         {args: []string{"-timeout", "0"}, want: "-timeout 0s", code: 1},
		"a backoff the wrong way round is an error":      {args: []string{"-backoff-min", "2s", "-backoff-max", "1s"}, want: "-backoff-min 2s", code: 1},
		"no backoff is an error":                         {args: []string{"-backoff-min", "0"}, want: "-backoff-min 0s", code: 1},
		"dead before a pass can end is an error":         {args: []string{"-live-after", "43s"}, want: "want more than 43s", code: 1},
	} {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			err := run(t.Context(), test.args, getenv(test.env), io.Discard, &stderr)
			if code := exitCode(err, &stderr); code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			if !strings.Contains(stderr.String(), test.want) {
				t.Errorf("standard error says %q, want %q in it", &stderr, test.want)
			}
		})
	}
}

func TestFlagsWinOverTheEnvironment(t *testing.T) {
	env := func(name string) string {
		return map[string]string{"PROXY": "http://traefik:8000", "HOSTS": "a, b,a", "INTERVAL": "1m", "LOG_LEVEL": "WARN"}[name]
	}
	conf, err := parseConfig([]string{"-interval", "30s", "-log-level", "debug"}, env, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if conf.interval != 30*time.Second || conf.logLevel.String() != "DEBUG" || conf.hosts.String() != "a,b" {
		t.Errorf("interval %s, log level %s, hosts %s; want 30s, DEBUG, and a,b", conf.interval, conf.logLevel, &conf.hosts)
	}
}

func TestHealthFromTheFirstPassToTheStop(t *testing.T) {
	arrived, goOn := make(chan struct{}, 2), make(chan struct{})
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-goOn
		io.WriteString(w, "well")
	}))
	defer proxy.Close()
	p := start(t, map[string]string{"PROXY": proxy.URL, "EXPECT": "well"})
	check := func() error {
		return run(t.Context(), []string{"-healthcheck", "-addr", strings.TrimPrefix(p.url, "http://")},
			func(string) string { return "" }, io.Discard, io.Discard)
	}
	<-arrived
	for path, want := range map[string]int{"/healthz": 200, "/livez": 200, "/readyz": 503, "/": 404} {
		if status, body := get(t, p.url+path); status != want {
			t.Errorf("during the first pass %s answers %d %q, want %d", path, status, body, want)
		}
	}
	if err := check(); err == nil || !strings.Contains(err.Error(), "first pass") {
		t.Errorf("-healthcheck during the first pass: %v", err)
	}
	close(goOn)
	waitFor(t, "the first pass", func() bool { return len(p.logs.lines(t, "reconciled")) == 2 })
	if status, body := get(t, p.url+"/readyz"); status != http.StatusOK {
		t.Errorf("after the first pass /readyz answers %d %q", status, body)
	}
	if err := check(); err != nil {
		t.Errorf("-healthcheck after the first pass: %v", err)
	}
	p.stop(t)
	if err := check(); err == nil {
		t.Error("-healthcheck of a stopped prober finds nothing wrong")
	}
}

func TestAStopWaitsForTheReconciliationInFlightAndForNoOther(t *testing.T) {
	arrived, goOn := make(chan struct{}, 2), make(chan struct{})
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-goOn
	}))
	defer proxy.Close()
	p := start(t, map[string]string{"PROXY": proxy.URL})
	<-arrived
	p.end()
	waitFor(t, "the stop to begin", func() bool { return len(p.logs.lines(t, "stopping")) == 1 })
	close(goOn)
	p.stop(t)
	waitFor(t, "the last log line", func() bool { return len(p.logs.lines(t, "stopped")) == 1 })
	if done, failed := p.logs.lines(t, "reconciled"), p.logs.lines(t, "reconciliation failed"); len(done) != 1 || len(failed) != 0 {
		t.Errorf("logged %v and %v", done, failed)
	}
}

func TestSwitchedOffItIsIdleAndHealthy(t *testing.T) {
	asked := make(chan struct{}, 1)
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked <- struct{}{} }))
	defer proxy.Close()
	p := start(t, map[string]string{"PROXY": proxy.URL, "INTERVAL": "0"})
	waitFor(t, "the log line", func() bool { return len(p.logs.lines(t, "idle: nothing is reconciled")) == 1 })
	for _, path := range []string{"/healthz", "/readyz", "/livez"} {
		if status, body := get(t, p.url+path); status != http.StatusOK {
			t.Errorf("%s answers %d %q", path, status, body)
		}
	}
	p.stop(t)
	if len(asked) > 0 {
		t.Error("the proxy was asked")
	}
}

func TestALogLevelSilencesWhatIsWell(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	proxy := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Host == "b.localhost" { // the second of two
			stop()
		}
	}))
	defer proxy.Close()
	logs := &logBuffer{}
	err := run(ctx, []string{"-addr", "127.0.0.1:0", "-proxy", proxy.URL, "-log-level", "warn"},
		func(name string) string { return startEnv[name] }, logs, io.Discard)
	if err != nil || logs.String() != "" {
		t.Errorf("run: %v; logged %s", err, logs)
	}
}
