package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"example.com/grafana-tempo-go-demo/demo/explorer"
	"example.com/grafana-tempo-go-demo/demo/stack"
	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// lookTimeout is how long the explorer looks for its back ends before it starts without them.
const lookTimeout = 3 * time.Second

// explorerConfig is what the flags of `explorer` set.
type explorerConfig struct {
	tempo, gateway baseURL
	addr           string
	logLevel       slog.Level
}

// explorerFlags declares the flags of `explorer`; -help and any other table of them come from here.
func explorerFlags(c *explorerConfig, stderr io.Writer) *flag.FlagSet {
	fs := newFlags("explorer", "Serves the page alone, for a Tempo and a proxy that run already, such as those of docker compose.\n"+
		"They need not be up yet. The ledger and the faults belong to `demo up`, and are not on this page.", stderr)
	_ = c.tempo.Set("http://localhost:3200")
	_ = c.gateway.Set("http://localhost")
	fs.Var(&c.tempo, "tempo", "`URL` of Tempo's HTTP API")
	fs.Var(&c.gateway, "gateway", "`URL` of the proxy, which routes <service>.localhost")
	fs.StringVar(&c.addr, "addr", topology.Addr(topology.Explorer), "`host:port` of the page; a taken default moves to a free port")
	fs.TextVar(&c.logLevel, "log-level", slog.LevelInfo, "least `level` of the log lines shown: debug, info, warn or error")
	return fs
}

// baseURL is a flag whose value is a URL that others are made from.
type baseURL struct{ *url.URL }

func (b *baseURL) String() string {
	if b.URL == nil {
		return ""
	}
	return b.URL.String()
}

func (b *baseURL) Set(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return err
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return errors.New("want a URL such as http://localhost:3200")
	case u.RawQuery != "" || u.Fragment != "":
		return errors.New("want a URL without a query or a fragment")
	}
	b.URL = u
	return nil
}

// runExplorer serves the page until soft ends.
func runExplorer(soft, _ context.Context, args []string, stdout, stderr io.Writer) error {
	var c explorerConfig
	fs := explorerFlags(&c, stderr)
	if err := parse(fs, args, stdout); err != nil {
		return err
	}
	if err := stack.CheckAddr(c.addr); err != nil {
		return misused(fs, "-addr: %w", err)
	}
	l, moved, err := stack.Listen("explorer", "addr", stack.Addr{Value: c.addr, Asked: given(fs)["addr"]})
	if err != nil {
		return err
	}
	defer l.Close() // if it comes to serving, the server has closed it
	if moved != "" {
		fmt.Fprintln(stderr, moved)
	}
	missing := look(soft, c)
	for _, err := range missing {
		fmt.Fprintf(stderr, "explorer: %v\n", err)
	}
	if len(missing) > 0 {
		fmt.Fprintln(stderr, "explorer: the page starts all the same, and shows what there is as soon as there is something")
	}
	if soft.Err() != nil {
		return nil
	}
	log := slog.New(slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: c.logLevel}))
	server := &http.Server{
		Handler:           explorer.New(explorer.Options{Tempo: c.tempo.URL, Gateway: c.gateway.URL, Logger: log}),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	if _, err := fmt.Fprintf(stdout, "explorer: http://%s shows the traces of %s and calls services through %s; Ctrl-C stops it\n",
		l.Addr(), c.tempo.Redacted(), c.gateway.Redacted()); err != nil {
		_ = server.Close()
		return fmt.Errorf("print the address: %w", err)
	}
	select {
	case err := <-served:
		return fmt.Errorf("explorer: %w", err)
	case <-soft.Done():
	}
	// A page that somebody holds open has nothing to lose.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(soft), 2*time.Second)
	defer cancel()
	if server.Shutdown(ctx) != nil {
		_ = server.Close()
	}
	return nil
}

// look tells which of the back ends are not there, and what to do about it.
func look(ctx context.Context, c explorerConfig) (missing []error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	if err := (&tempo.Client{URL: c.tempo.String(), HTTP: localClient}).Ready(ctx); err != nil {
		missing = append(missing, fmt.Errorf("-tempo: %w", err))
	}
	port := cmp.Or(c.gateway.Port(), map[string]string{"http": "80", "https": "443"}[c.gateway.Scheme])
	// Not a request: the proxy would make a trace of it.
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(c.gateway.Hostname(), port))
	if err != nil {
		missing = append(missing, fmt.Errorf("-gateway: no proxy answers at %s, start it (go run ./demo, or docker compose up) or correct the address: %w",
			c.gateway.Redacted(), err))
	} else {
		_ = conn.Close()
	}
	return missing
}
