package main

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestSettings(t *testing.T) {
	taken := strings.TrimPrefix(start(t, nil).url, "http://")
	for name, test := range map[string]struct {
		env  map[string]string
		args []string
		want string // part of the error, or of the usage
		code int
	}{
		"-help prints the usage and is no error": {args: []string{"-help"}, want: "(LOG_LEVEL)"},
		"a misspelled flag":                      {args: []string{"-adr", ":1"}, want: "-adr", code: 2},
		"an argument":                            {args: []string{"serve"}, want: `"serve"`, code: 1},
		"a malformed variable":                   {env: map[string]string{"LOG_LEVEL": "loud"}, want: `LOG_LEVEL="loud": want a value such as INFO`, code: 1},
		"a duration without a unit":              {env: map[string]string{"REDIS_MAX": "1"}, want: "error: REDIS_MAX=\"1\": want a value such as 199ms\n", code: 1},
		"a taken port":                           {args: []string{"-addr", taken}, want: taken, code: 1},
		"no upstream":                            {env: map[string]string{"UPSTREAM": ""}, want: "no upstream", code: 1},
		"an upstream without a scheme":           {args: []string{"-upstream", "localhost:7878"}, want: "localhost:7878", code: 1},
		"an upstream of another kind":            {args: []string{"-upstream", "ftp://me:secret@localhost"}, want: `"localhost"`, code: 1},
		"an upstream that is no URL":             {args: []string{"-upstream", "http://a b"}, want: "http://a b", code: 1},
		"bounds the wrong way round":             {args: []string{"-redis-min", "2ms", "-redis-max", "1ms"}, want: "-redis-min 2ms", code: 1},
		"a negative bound":                       {args: []string{"-redis-min", "-1ms"}, want: "-redis-min -1ms", code: 1},
		"a bound beyond what is waited":          {args: []string{"-redis-max", "1m"}, want: "-redis-max 1m", code: 1},
	} {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			err := run(t.Context(), test.args, getenv(test.env), io.Discard, &stderr)
			if code := exitCode(err, &stderr); code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			if got := stderr.String(); !strings.Contains(got, test.want) || strings.Contains(got, "secret") {
				t.Errorf("standard error says %q, want %q in it", got, test.want)
			}
		})
	}
}

func TestFlagsWinOverTheEnvironment(t *testing.T) {
	env := func(name string) string { return map[string]string{"ADDR": ":1", "LOG_LEVEL": "WARN"}[name] }
	conf, err := parseConfig([]string{"-addr", ":2", "-healthcheck"}, env, io.Discard)
	if err != nil || conf.addr != ":2" || conf.logLevel.String() != "WARN" {
		t.Errorf("addr %s, log level %s, error %v; want :2 and WARN", conf.addr, conf.logLevel, err)
	}
}

func TestHealth(t *testing.T) {
	p := start(t, nil)
	if status, body := get(t, p.url+"/healthz"); status != http.StatusOK {
		t.Errorf("/healthz answers %d %q", status, body)
	}
	check := func(host string) error {
		return run(t.Context(), []string{"-healthcheck", "-addr", host + p.url[strings.LastIndex(p.url, ":"):]},
			func(string) string { return "" }, io.Discard, io.Discard)
	}
	for _, host := range []string{"127.0.0.1", "", "0.0.0.0", "[::]"} { // all but the first mean every interface
		if err := check(host); err != nil {
			t.Errorf("-healthcheck of a running service at %q: %v", host, err)
		}
	}
	if lines := p.logs.lines(t, "request"); len(lines) > 0 {
		t.Errorf("health checks are logged: %v", lines)
	}
	p.stop()
	if err := check("127.0.0.1"); err == nil {
		t.Error("-healthcheck of a stopped service finds nothing wrong")
	}
}

func TestAStopFinishesTheRequestInFlight(t *testing.T) {
	p := start(t, map[string]string{"REDIS_MIN": "100ms", "REDIS_MAX": "100ms"})
	go func() {
		for len(p.logs.lines(t, "request")) == 0 {
			time.Sleep(time.Millisecond)
		}
		p.stop()
	}()
	if status, page := get(t, p.url+"/?fail=redis"); status != http.StatusInternalServerError {
		t.Errorf("the request in flight is answered %d %s", status, page)
	}
}

func TestHeadersAreBounded(t *testing.T) {
	if status, _ := get(t, start(t, nil).url+"/?"+strings.Repeat("x", 2*maxHeaderBytes)); status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a request that is too long is answered %d", status)
	}
}
