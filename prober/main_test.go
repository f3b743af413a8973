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
		"a taken port is an error that names it":         {args: []string{"-addr", taken}, want: taken, code: 1},
		"no proxy is an error":                           {env: map[string]string{"PROXY": ""}, want: "set -proxy or PROXY", code: 1},
		"a proxy without a scheme is an error":           {args: []string{"-proxy", "127.0.0.1:8000"}, want: "http://host:port", code: 1},
		"a proxy with a path is an error":                {args: []string{"-proxy", "http://localhost/x"}, want: "nothing after it", code: 1},
		"a proxy that is no URL is an error":             {args: []string{"-proxy", "http://a b"}, want: "http://a b", code: 1},
		"no hosts is an error":                           {env: map[string]string{"HOSTS": " , "}, want: "set -hosts or HOSTS", code: 1},
		"a URL as host is an error":                      {env: map[string]string{"HOSTS": "a,http://b"}, want: `"http://b"`, code: 1},
		"too many hosts are an error":                    {env: map[string]string{"HOSTS": tooMany}, want: "at most 32", code: 1},
		"an interval that is a load test is an error":    {args: []string{"-interval", "10ms"}, want: "-interval 10ms", code: 1},
		"a negative interval is an error":                {args: []string{"-interval", "-1s"}, want: "-interval -1s", code: 1},
		"a timeout beyond the stop's is an error":        {args: []string{"-timeout", "15s"}, want: "-timeout 15s", code: 1},
		"no timeout is an error":                         {args: []string{"-timeout", "0"}, want: "-timeout 0s", code: 1},
		"a backoff the wrong way round is an error":      {args: []string{"-backoff-min", "2s", "-backoff-max", "1s"}, want: "-backoff-min 2s", code: 1},
		"no backoff is an error":                         {args: []string{"-backoff-min", "0"}, want: "-backoff-min 0s", code: 1},
		"dead before a check can end is an error":        {args: []string{"-live-after", "44s"}, want: "want more than 44s", code: 1},
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
	err := run(ctx, args, getenv(nil), logs, io.Discard)
	if err != nil || logs.String() != "" {
		t.Errorf("run: %v; logged %s", err, logs)
	}
}
