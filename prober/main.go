// Command prober keeps asking the services behind a proxy whether they answer well, and is
// instrumented as a controller should be: each check of a target is a trace of its own, a few
// metrics, and a log line that names the trace. It also fills the panels of a demo without
// visitors.
//
// Read controller.go: it is the lesson. probe.go is one check, queue.go says which target is next.
// otel.go and the otel_*.go beside it are those of the services.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the first signal stops gracefully, a second one kills
	err := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	os.Exit(exitCode(err, os.Stderr))
}

// run is the whole program. Tests start it with a context, arguments and an environment of their
// own. It returns nil after a graceful stop, which cancelling ctx asks for.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) (err error) {
	conf, err := parseConfig(args, getenv, stderr)
	if err != nil {
		return err
	}
	if conf.healthcheck {
		return checkHealth(conf.addr)
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
		stop() // a loop that cannot be asked for its health is of no use
	}()
	c.run(ctx)
	if err := <-served; err != nil {
		return err
	}
	log.Info("stopped")
	return nil
}

// exitCode prints err, unless package flag has printed it, and returns the process's exit code.
func exitCode(err error, stderr io.Writer) int {
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		return 2
	}
	fmt.Fprintln(stderr, "error:", err)
	return 1
}
