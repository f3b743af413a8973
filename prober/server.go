package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

const (
	readTimeout  = 10 * time.Second
	writeTimeout = 15 * time.Second
	idleTimeout  = 60 * time.Second
	// drainTimeout is what the last reconciliation may take on the way out. With the flush that
	// follows it stays below the grace that the container runtime gives before it kills.
	drainTimeout   = 15 * time.Second
	maxHeaderBytes = 16 << 10 // bounds what a request may cost before our code sees it
)

// serve answers health checks until ctx is cancelled. They are not traced: a controller's traces
// are about what it does.
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

// healthHandler answers two questions. /readyz: has each target been checked once? /livez: does the
// loop still turn? A platform restarts what is not alive, so a target that stays down does not count.
func healthHandler(c *controller, stopping *atomic.Bool) http.Handler {
	mux := http.NewServeMux()
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

// checkHealth asks the prober on addr whether it is ready and alive: an image without a shell has
// no other way to ask. Where addr names no host, or 0.0.0.0, package net dials this machine.
func checkHealth(addr string) error {
	client := http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{}} // which uses no proxy
	// Ready alone would say nothing after the first pass, and alive nothing before it.
	for _, path := range []string{"/readyz", "/livez"} {
		res, err := client.Get("http://" + addr + path)
		if err != nil {
			return fmt.Errorf("not healthy: %w", err)
		}
		defer res.Body.Close()
		var reason []byte
		if res.StatusCode == http.StatusServiceUnavailable { // our own; no timeout ends the body of a 101
			reason, _ = io.ReadAll(io.LimitReader(res.Body, 1<<10))
		}
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answers %s: %s", path, res.Status, strings.TrimSpace(string(reason)))
		}
	}
	return nil
}
