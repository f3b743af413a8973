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

func TestAHealthCheckEndsWhateverAnswers(t *testing.T) {
	stranger := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
		io.Copy(io.Discard, conn) // until the other side gives up
		conn.Close()
	}))
	defer stranger.Close()
	if err := checkHealth(stranger.Listener.Addr().String()); err == nil || !strings.Contains(err.Error(), "101") {
		t.Errorf("error %v", err)
	}
}

func TestSettingsThatEndTheStart(t *testing.T) {
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
		env, value string // a variable
		args       string
		want       string // part of the error, or of the usage; empty for none
		code       int
	}{
		"-help prints the usage and is no error": {args: "-help", want: "(LIVE_AFTER)"},
		"a misspelled flag":                      {args: "-adr :1", want: "-adr", code: 2},
		"an argument":                            {args: "serve", want: `"serve"`, code: 1},
		"a malformed flag":                       {args: "-interval 15", want: "-interval", code: 2},
		"a malformed variable":                   {env: "INTERVAL", value: "15", want: `"15": want a value`, code: 1},
		"a taken port":                           {args: "-addr " + taken, want: taken, code: 1},
		"no proxy":                               {env: "PROXY", value: "", want: "set -proxy or PROXY", code: 1},
		"a proxy without a scheme":               {args: "-proxy 127.0.0.1:8000", want: "http://host:port", code: 1},
		"a proxy with a path":                    {args: "-proxy http://localhost/x", want: "nothing after it", code: 1},
		"a proxy that is no URL":                 {env: "PROXY", value: "http://a b", want: "http://a b", code: 1},
		"no hosts":                               {env: "HOSTS", value: " , ", want: "set -hosts or HOSTS", code: 1},
		"a URL as host":                          {env: "HOSTS", value: "a,http://b", want: `"http://b"`, code: 1},
		"too many hosts":                         {env: "HOSTS", value: tooMany, want: "at most 32", code: 1},
		"an interval that is a load test":        {args: "-interval 10ms", want: "-interval 10ms", code: 1},
		"a negative interval":                    {args: "-interval -1s", want: "-interval -1s", code: 1},
		"a timeout beyond the stop's":            {args: "-timeout 15s", want: "-timeout 15s", code: 1},
		"no timeout":                             {args: "-timeout 0", want: "-timeout 0s", code: 1},
		"a backoff the wrong way round":          {args: "-backoff-min 2s -backoff-max 1s", want: "-backoff-min 2s", code: 1},
		"no backoff":                             {args: "-backoff-min 0", want: "-backoff-min 0s", code: 1},
		"dead before a check can end":            {args: "-live-after 44s", want: "want more than 44s", code: 1},
	} {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			env := getenv(map[string]string{test.env: test.value})
			err := run(t.Context(), strings.Fields(test.args), env, io.Discard, &stderr)
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
	env := map[string]string{"HOSTS": "a, b,a", "INTERVAL": "1m", "LOG_LEVEL": "WARN"}
	conf, err := parseConfig([]string{"-interval", "30s", "-log-level", "debug"}, getenv(env), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if conf.interval != 30*time.Second || conf.logLevel.String() != "DEBUG" || conf.hosts.String() != "a,b" {
		t.Errorf("interval %s, log level %s, hosts %s; want 30s, DEBUG, and a,b", conf.interval, conf.logLevel, &conf.hosts)
	}
}

func TestHealthcheckFromTheFirstPassToTheStop(t *testing.T) {
	arrived, goOn := make(chan struct{}, 2), make(chan struct{})
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-goOn
		w.WriteHeader(http.StatusBadGateway)
	}))
	defer proxy.Close()
	p := start(t, map[string]string{"PROXY": proxy.URL})
	check := func() error {
		return run(t.Context(), []string{"-healthcheck", "-addr", strings.TrimPrefix(p.url, "http://")},
			func(string) string { return "" }, io.Discard, io.Discard)
	}
	<-arrived
	if err := check(); err == nil || !strings.Contains(err.Error(), "first pass") {
		t.Errorf("during the first pass: %v", err)
	}
	close(goOn)
	waitFor(t, "the first pass", func() bool { return len(p.logs.lines(t, "reconciliation failed")) >= 2 })
	if err := check(); err != nil {
		t.Errorf("with targets that are down: %v", err)
	}
	if status, text := get(t, p.url+"/livez"); status != http.StatusOK { // what Kubernetes asks
		t.Errorf("/livez answers %d: %s", status, text)
	}
	p.stop()
	if check() == nil {
		t.Error("finds nothing wrong with a stopped prober")
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
	go p.stop()
	waitFor(t, "the stop to begin", func() bool { return len(p.logs.lines(t, "stopping")) == 1 })
	close(goOn)
	p.stop()
	if done, stopped := p.logs.lines(t, "reconciled"), p.logs.lines(t, "stopped"); len(done) != 1 || len(stopped) != 1 {
		t.Errorf("logged %s", p.logs)
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
	args := []string{"-addr", "127.0.0.1:0", "-proxy", proxy.URL, "-log-level", "warn"}
	if err := run(ctx, args, getenv(nil), logs, io.Discard); err != nil || logs.String() != "" {
		t.Errorf("run: %v; logged %s", err, logs)
	}
}
