package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	minInterval = time.Second // keeps a mistyped interval from becoming a load test
	maxHosts    = 32          // bounds the queue, and the time series that each target has
)

var errUsage = errors.New("usage") // an error that package flag has printed, with the usage

// config is what flags and environment set.
type config struct {
	addr        string
	logLevel    slog.Level
	healthcheck bool

	proxy     string
	hosts     hostList
	expect    string
	interval  time.Duration
	timeout   time.Duration
	liveAfter time.Duration
	backoff   backoffPolicy
}

// parseConfig reads the environment, then the flags, which win. The variable of a flag is its name
// in upper case, with _ for each dash. An empty variable counts as not set: Compose passes them on.
func parseConfig(args []string, getenv func(string) string, stderr io.Writer) (config, error) {
	var conf config
	flags := flag.NewFlagSet("prober", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&conf.addr, "addr", "127.0.0.1:7878",
		"answer health checks on this `host:port`; port 0 takes a free one")
	flags.TextVar(&conf.logLevel, "log-level", slog.LevelInfo, "least `level` that is logged: debug, info, warn or error")
	flags.BoolVar(&conf.healthcheck, "healthcheck", false,
		"ask the prober that listens on -addr whether it is ready and alive, and exit")
	flags.StringVar(&conf.proxy, "proxy", "",
		"`URL` of the proxy that all requests go to, such as http://127.0.0.1:8000; required")
	flags.Var(&conf.hosts, "hosts",
		"`names` to ask the proxy for, separated by commas, such as a.localhost,b.localhost; required")
	flags.StringVar(&conf.expect, "expect", "",
		"`text` that a good answer contains; empty takes any answer with status 200")
	flags.DurationVar(&conf.interval, "interval", 15*time.Second,
		"`duration` from one pass to the next, at least 1s; 0 switches the prober off")
	// Longer than a service waits for another, so that its own answer, which says more, comes
	// first.
	flags.DurationVar(&conf.timeout, "timeout", 14*time.Second,
		"`duration` within which a good answer is there as a whole")
	flags.DurationVar(&conf.backoff.min, "backoff-min", time.Second,
		"`duration` before a target that failed once is tried again; doubled with each failure")
	flags.DurationVar(&conf.backoff.max, "backoff-max", 30*time.Second, "greatest `duration` between two tries")
	flags.DurationVar(&conf.liveAfter, "live-after", 2*time.Minute,
		"`duration` without a reconciliation that ended, well or not, after which /livez answers 503")

	var problems []error
	flags.VisitAll(func(f *flag.Flag) {
		variable := strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		f.Usage += " (" + variable + ")"
		if value := getenv(variable); value != "" {
			if err := flags.Set(f.Name, value); err != nil {
				if f.DefValue != "" { // instead of "parse error"
					err = fmt.Errorf("want a value such as %s", f.DefValue)
				}
				problems = append(problems, fmt.Errorf("%s=%q: %w", variable, value, err))
			}
		}
	})
	if err := flags.Parse(args); err != nil {
		return conf, fmt.Errorf("%w: %w", errUsage, err)
	}
	if flags.NArg() > 0 {
		problems = append(problems, fmt.Errorf("unexpected argument %q: settings are flags, see -help", flags.Arg(0)))
	}
	if !conf.healthcheck && len(problems) == 0 {
		problems = append(problems, conf.check())
	}
	return conf, errors.Join(problems...)
}

// check says what is wrong with the settings.
func (c *config) check() error {
	var problems []error
	wrong := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	proxy, err := url.Parse(c.proxy)
	switch {
	case c.proxy == "":
		wrong("no proxy: set -proxy or PROXY, for example http://127.0.0.1:8000")
	case err != nil || proxy.Scheme != "http" && proxy.Scheme != "https" || proxy.Hostname() == "" ||
		strings.TrimSuffix(c.proxy, "/") != proxy.Scheme+"://"+proxy.Host:
		wrong("-proxy %q: want http://host:port and nothing after it", c.proxy[strings.LastIndexByte(c.proxy, '@')+1:])
	}
	if len(c.hosts) == 0 {
		wrong("no hosts: set -hosts or HOSTS, for example a.localhost,b.localhost")
	}
	if c.timeout <= 0 || c.timeout >= drainTimeout {
		wrong("-timeout %s: want more than 0 and less than %s, which is what a stop waits", c.timeout, drainTimeout)
	}
	if c.backoff.min <= 0 || c.backoff.max < c.backoff.min {
		wrong("-backoff-min %s and -backoff-max %s: want 0 < min <= max", c.backoff.min, c.backoff.max)
	}
	if c.interval < 0 || c.interval > 0 && c.interval < minInterval {
		wrong("-interval %s: want at least %s, or 0 to switch the prober off", c.interval, minInterval)
	}
	// Sooner than the next reconciliation can end, and even the healthiest loop would be called dead.
	if longest := max(c.interval, c.backoff.max) + c.timeout; c.interval > 0 && c.liveAfter <= longest {
		wrong("-live-after %s: want more than %s, which is -interval or -backoff-max, and then -timeout",
			c.liveAfter, longest)
	}
	return errors.Join(problems...)
}

// hostList is a flag's value: the names of hosts, separated by commas, each kept once.
type hostList []string

func (l *hostList) String() string { return strings.Join(*l, ",") }

// Set replaces the list.
func (l *hostList) Set(value string) error {
	*l = nil
	for host := range strings.SplitSeq(value, ",") {
		if host = strings.TrimSpace(host); host == "" || slices.Contains(*l, host) {
			continue
		}
		if u, err := url.Parse("http://" + host); err != nil || u.Host != host || u.Hostname() == "" {
			return fmt.Errorf("%q is not the name of a host", host)
		}
		*l = append(*l, host)
	}
	if len(*l) > maxHosts {
		return fmt.Errorf("%d hosts: want at most %d", len(*l), maxHosts)
	}
	return nil
}
