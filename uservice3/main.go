// Command uservice3 is uservice1 with OpenTelemetry added: what it asks, and how long each answer took, can be seen in
// a trace. Every line of uservice1 is still here.
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
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// Timeouts nest, so that the innermost one answers first: the outgoing client (see handlers.go), then the server's
// write timeout, then the drain on the way out, then the grace that the container runtime gives before it kills.
const (
	readTimeout  = 10 * time.Second
	writeTimeout = 15 * time.Second
	idleTimeout  = 60 * time.Second
	drainTimeout = 15 * time.Second
	// maxHeaderBytes bounds what one request may cost before any of our code sees it; net/http adds 4 KiB of slack.
	maxHeaderBytes = 16 << 10
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
	var logHandler slog.Handler = slog.NewJSONHandler(stdout, &slog.HandlerOptions{Level: conf.logLevel})
	logHandler = withTelemetry(logHandler)
	log := slog.New(logHandler)
	flush, err := setUpTelemetry(ctx, log)
	if err != nil {
		return fmt.Errorf("telemetry: %w", err)
	}
	defer flush()
	svc := newService(conf, log)
	return serve(ctx, conf.addr, svc.handler(), log)
}

// config is what flags and environment set. What this service alone needs is in serviceConfig.
type config struct {
	addr        string
	logLevel    slog.Level
	healthcheck bool

	serviceConfig

	traceLink string
}

// parseConfig reads the environment, then the flags, which win. A flag's variable is its name in upper case with _ for
// each dash. An empty variable counts as not set, as Compose passes them on.
func parseConfig(args []string, getenv func(string) string, stderr io.Writer) (config, error) {
	var conf config
	flags := flag.NewFlagSet("service", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&conf.addr, "addr", "127.0.0.1:7878", "listen on this `host:port`; port 0 takes a free one")
	flags.TextVar(&conf.logLevel, "log-level", slog.LevelInfo, "least `level` that is logged: debug, info, warn or error")
	flags.BoolVar(&conf.healthcheck, "healthcheck", false, "ask the service that listens on -addr whether it is ready, and exit")
	conf.serviceConfig.register(flags)
	flags.StringVar(&conf.traceLink, "trace-link", "", "`URL` that opens a trace, with {trace_id} where its id goes")

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
	if !conf.healthcheck {
		problems = append(problems, conf.serviceConfig.check())
		problems = append(problems, checkTraceLink(conf.traceLink))
	}
	return conf, errors.Join(problems...)
}

// serve answers on addr until ctx is cancelled, and then finishes the requests in flight.
func serve(ctx context.Context, addr string, handler http.Handler, log *slog.Logger) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("%w: choose another address with -addr or ADDR", err)
	}
	var stopping atomic.Bool
	mux := http.NewServeMux()
	mux.Handle("/", handler)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if stopping.Load() {
			http.Error(w, "stopping", http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, "ready\n")
	})
	server := &http.Server{
		Handler:        mux,
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
	log.Info("stopped")
	return nil
}

// checkHealth asks the service on addr whether it is ready: images without a shell have no other way to ask.
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
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/readyz", nil)
	if err != nil {
		return fmt.Errorf("address to check: %w", err)
	}
	client := http.Client{Transport: &http.Transport{}} // no proxy: the service is on this machine
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("not healthy: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("not ready: %s", res.Status)
	}
	return nil
}
