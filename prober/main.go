// Command prober keeps asking the services behind a proxy whether they answer well, and is instrumented as a controller
// should be: each pass over a target is a trace of its own, a few metrics, and a log line that names the trace. In a
// demo that nobody uses, it also keeps every panel filled.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	readTimeout  = 10 * time.Second
	writeTimeout = 15 * time.Second
	idleTimeout  = 60 * time.Second
	// drainTimeout is what the last reconciliation may take on the way out. With the flush that follows it stays below
	// the grace that the container runtime gives before it kills.
	drainTimeout = 15 * time.Second
	// maxHeaderBytes bounds what one request may cost before any of our code sees it; net/http adds 4 KiB of slack.
	maxHeaderBytes = 16 << 10
	// minInterval keeps a mistyped interval from becoming a load test.
	minInterval = time.Second
	// maxHosts bounds the queue, and the time series, which are made for each target.
	maxHosts = 32
)

// errUsage marks an error whose text, with the usage, has been printed already.
var errUsage = errors.New("usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the first signal stops gracefully, a second one kills
	err := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	os.Exit(exitCode(err, os.Stderr))
}

// exitCode prints err where that is left to do, and turns it into the process's exit code.
func exitCode(err error, stderr io.Writer) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		return 2
	}
	fmt.Fprintln(stderr, "error:", err)
	return 1
}

// run is the whole program: tests start it with a context, arguments and an environment of their own.
// It returns nil after a graceful stop, which cancelling ctx asks for.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) (err error) {
	conf, err := parseConfig(args, getenv, stderr)
	if err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if conf.healthcheck {
		return checkHealth(ctx, conf.addr)
	}
	log := slog.New(withTelemetry(slog.NewJSONHandler(stdout, &slog.HandlerOptions{Level: conf.logLevel})))
	flush, err := setUpTelemetry(ctx, log)
	if err != nil {
		return fmt.Errorf("telemetry: %w", err)
	}
	defer flush()
	c, err := newController(conf, newProbe(conf).check, log)
	if err != nil {
		return fmt.Errorf("controller: %w", err)
	}
	listener, err := net.Listen("tcp", conf.addr)
	if err != nil {
		return fmt.Errorf("%w: choose another address with -addr or ADDR", err)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	served := make(chan error, 1)
	go func() {
		served <- serve(ctx, listener, c, log)
		stop() // a loop that nobody can ask for its health is of no use
	}()
	c.run(ctx)
	if err := <-served; err != nil {
		return err
	}
	log.Info("stopped")
	return nil
}

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

// parseConfig reads the environment, then the flags, which win. A flag's variable is its name in upper case with _ for
// each dash. An empty variable counts as not set, as Compose passes them on.
func parseConfig(args []string, getenv func(string) string, stderr io.Writer) (config, error) {
	var conf config
	flags := flag.NewFlagSet("prober", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&conf.addr, "addr", "127.0.0.1:7878", "answer health checks on this `host:port`; port 0 takes a free one")
	flags.TextVar(&conf.logLevel, "log-level", slog.LevelInfo, "least `level` that is logged: debug, info, warn or error")
	flags.BoolVar(&conf.healthcheck, "healthcheck", false, "ask the prober that listens on -addr whether it is ready and alive, and exit")
	flags.StringVar(&conf.proxy, "proxy", "", "`URL` of the proxy that all requests go to, such as http://127.0.0.1:8000; required")
	flags.Var(&conf.hosts, "hosts", "`names` to ask the proxy for, separated by commas, such as a.localhost,b.localhost; required")
	flags.StringVar(&conf.expect, "expect", "", "`text` that a good answer contains; empty takes any answer with status 200")
	flags.DurationVar(&conf.interval, "interval", 15*time.Second, "`duration` from one pass to the next, at least 1s; 0 switches the prober off")
	// Longer than a service waits for another, so that its own answer, which says more, comes first.
	flags.DurationVar(&conf.timeout, "timeout", 14*time.Second, "`duration` within which a good answer is there as a whole")
	flags.DurationVar(&conf.backoff.min, "backoff-min", time.Second, "`duration` before a target that failed once is tried again; doubled with each failure")
	flags.DurationVar(&conf.backoff.max, "backoff-max", 30*time.Second, "greatest `duration` between two tries")
	flags.DurationVar(&conf.liveAfter, "live-after", 2*time.Minute, "`duration` without a pass that succeeded after which /livez answers 503")

	var problems []error
	flags.VisitAll(func(f *flag.Flag) {
		variable := strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		f.Usage += " (" + variable + ")"
		if value := getenv(variable); value != "" {
			if err := flags.Set(f.Name, value); err != nil {
				problems = append(problems, fmt.Errorf("environment variable %s=%q: %w", variable, value, err))
			}
		}
	})
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return conf, err
		}
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
	case err != nil:
		wrong("-proxy: %w", err)
	case c.proxy == "":
		wrong("no proxy: set -proxy or PROXY, for example http://127.0.0.1:8000")
	case proxy.Scheme != "http" && proxy.Scheme != "https" || proxy.Hostname() == "" ||
		strings.TrimSuffix(c.proxy, "/") != proxy.Scheme+"://"+proxy.Host:
		wrong("-proxy %q: want http://host:port and nothing after it", c.proxy)
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
	// Sooner than a pass can end, and even the healthiest loop would be called dead.
	if longest := c.interval + time.Duration(len(c.hosts))*c.timeout; c.interval > 0 && c.liveAfter <= longest {
		wrong("-live-after %s: want more than %s, which is -interval and then -timeout for each host", c.liveAfter, longest)
	}
	return errors.Join(problems...)
}

// hostList is a flag's value: the names of hosts, without doubles, separated by commas.
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

// serve answers questions about the controller's health until ctx is cancelled. Neither they nor the page of a stranger
// are traced: a controller's traces are about what it does.
func serve(ctx context.Context, listener net.Listener, c *controller, log *slog.Logger) error {
	var stopping atomic.Bool
	server := &http.Server{
		Handler:        healthHandler(c, &stopping),
		ReadTimeout:    readTimeout,
		WriteTimeout:   writeTimeout,
		IdleTimeout:    idleTimeout,
		MaxHeaderBytes: maxHeaderBytes,
		ErrorLog:       slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	log.Info("listening", "addr", listener.Addr().String())

	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	log.Info("stopping", "drain_timeout", drainTimeout.String())
	stopping.Store(true)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		return fmt.Errorf("requests still in flight after %s: %w", drainTimeout, errors.Join(err, server.Close()))
	}
	return nil
}

// healthHandler answers three questions. /healthz: does the process answer? /readyz: has each target been looked at?
// /livez: is the work done, was each target found well lately? A platform that restarts what is not alive restarts this
// one also when it is a target that stays down; where that is not wanted, it should ask /healthz.
func healthHandler(c *controller, stopping *atomic.Bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		err := c.ready()
		if stopping.Load() {
			err = errors.New("stopping")
		}
		answerHealth(w, "ready", err)
	})
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { answerHealth(w, "live", c.live()) })
	return mux
}

func answerHealth(w http.ResponseWriter, well string, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	io.WriteString(w, well+"\n")
}

// checkHealth asks the prober on addr whether it is ready and alive: images without a shell have no other way to ask.
// Being ready alone would say nothing after the first pass, and being alive nothing before the first.
func checkHealth(ctx context.Context, addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("address to check: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	client := http.Client{Transport: &http.Transport{}} // no proxy: the prober is on this machine
	for _, path := range []string{"/readyz", "/livez"} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+path, nil)
		if err != nil {
			return fmt.Errorf("address to check: %w", err)
		}
		res, err := client.Do(req)
		if err != nil {
			return fmt.Errorf("not healthy: %w", err)
		}
		reason, err := io.ReadAll(io.LimitReader(res.Body, 1<<10))
		res.Body.Close()
		if err != nil {
			return fmt.Errorf("not healthy: %w", err)
		}
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answers %s: %s", path, res.Status, strings.TrimSpace(string(reason)))
		}
	}
	return nil
}
