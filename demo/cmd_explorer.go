package main

import (
	"flag"
	"fmt"
	"log/slog"
	"net"

	"example.com/grafana-tempo-go-demo/demo/explorer"
	"example.com/grafana-tempo-go-demo/demo/stack"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

var explorerCommand = command{
	name:    "explorer",
	summary: "serve the page alone, for a Tempo and a gateway that are running",
	about: "Serves the page alone, for a Tempo and a gateway that are running, such as those of docker compose.\n" +
		"They need not be up yet. This page has neither the ledger nor the faults: they belong to `demo up`.",
	declare: func(fs *flag.FlagSet) action {
		tempoURL := fs.String("tempo", "http://localhost:3200", "`URL` of Tempo's HTTP API")
		gatewayURL := fs.String("gateway", "http://localhost", "`URL` of the gateway, which routes <service>.localhost")
		addr := fs.String("addr", topology.Addr(topology.Explorer),
			"`host:port` of the page; a taken default moves to a free port")
		level := logLevel(fs)
		return func(s session) (err error) {
			o := explorer.Options{Logger: slog.New(slog.NewJSONHandler(s.stderr, &slog.HandlerOptions{Level: *level}))}
			if o.Tempo, err = topology.ParseURL(*tempoURL); err != nil {
				return misused("-tempo=%s: %w", *tempoURL, err)
			}
			if o.Gateway, err = topology.ParseURL(*gatewayURL); err != nil {
				return misused("-gateway=%s: %w", *gatewayURL, err)
			}
			if err := stack.CheckAddr(*addr); err != nil {
				return misused("-addr: %w", err)
			}
			_, asked := given(fs)["addr"]
			l, err := stack.Listen(topology.Explorer, "addr", *addr, asked, s.stderr)
			if err != nil {
				return err
			}
			return serveExplorer(s, o, l)
		}
	},
}

// serveExplorer serves the page on l until the session ends.
func serveExplorer(s session, o explorer.Options, l net.Listener) error {
	if err := o.Missing(s.ctx); err != nil {
		fmt.Fprintf(s.stderr, "explorer: not everything is there yet:\n%v\n"+
			"the page starts all the same, and fills as soon as something is there\n", err)
	}
	_, err := fmt.Fprintf(s.stdout, "explorer: http://%s shows the traces of %s and calls services through %s; Ctrl-C stops it\n",
		l.Addr(), o.Tempo.Redacted(), o.Gateway.Redacted())
	if err != nil {
		return fmt.Errorf("print the address: %w", err)
	}
	return explorer.Serve(s.ctx, l, o)
}
