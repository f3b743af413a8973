package main

import (
	"flag"
	"fmt"
	"log/slog"

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
		lokiURL := fs.String("loki", "", "`URL` of Loki's HTTP API, such as http://localhost:3100, for log lines; empty for none")
		gatewayURL := fs.String("gateway", "http://localhost", "`URL` of the gateway, which routes <service>.localhost")
		const fallback = "127.0.0.1:3000"
		addr := fs.String("addr", "", "`host:port` of the page (default "+fallback+", or a free port if that is taken)")
		return func(s session) (err error) {
			o := explorer.Options{Logger: slog.New(slog.NewJSONHandler(s.stderr, nil))}
			if o.Tempo, err = topology.ParseURL(*tempoURL); err != nil {
				return misused("-tempo: %w", err)
			}
			if *lokiURL != "" {
				if o.Loki, err = topology.ParseURL(*lokiURL); err != nil {
					return misused("-loki: %w", err)
				}
			}
			if o.Gateway, err = topology.ParseURL(*gatewayURL); err != nil {
				return misused("-gateway: %w", err)
			}
			l, err := stack.Listen(topology.Explorer, *addr, "addr", fallback, s.stderr)
			if err != nil {
				return err
			}
			if err := o.Missing(s.ctx); err != nil {
				fmt.Fprintf(s.stderr, "explorer: not everything is there yet:\n%v\n"+
					"the page starts all the same, and fills as soon as something is there\n", err)
			}
			err = s.print(fmt.Sprintf("explorer: http://%s shows the traces of %s and calls services through %s; Ctrl-C stops it\n",
				l.Addr(), o.Tempo.Redacted(), o.Gateway.Redacted()))
			if err != nil {
				return fmt.Errorf("print the address: %w", err)
			}
			return explorer.Serve(s.ctx, l, o)
		}
	},
}
