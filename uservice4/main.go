package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
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
