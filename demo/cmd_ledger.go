package main

import (
	"context"
	"flag"
	"fmt"
	"io"

	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/term"
)

var ledgerCommand = command{
	name:    "ledger",
	summary: "show from a log where the propagation header went: docker compose logs | demo ledger",
	about: "Reads the log of the gateway and the services from standard input, and shows for each request which propagation\n" +
		"header left and arrived at each hop, and what became of the trace. The log is that of docker compose, kubectl logs\n" +
		"--prefix, podman logs --names, or `demo up`:\n\n" +
		"  docker compose logs | go run ./demo ledger",
	declare: func(fs *flag.FlagSet) action {
		var o ledger.RunOptions
		fs.StringVar(&o.Trace, "trace", "", "show only the trace with this `id`; leading zeros may be missing")
		fs.IntVar(&o.Limit, "limit", ledger.DefaultLimit, "show at most this `number` of requests, the newest")
		fs.BoolVar(&o.JSON, "json", false, "print one JSON object instead")
		return func(s session) error {
			if o.Limit < 1 {
				return misused("-limit=%d: want 1 or more", o.Limit)
			}
			if term.IsTerminal(s.stdin) {
				fmt.Fprintln(s.stderr,
					"reading a log from the terminal; to pipe one in: docker compose logs | go run ./demo ledger")
			}
			return ledger.Run(untilDone(s.ctx, s.stdin), s.stdout, s.stderr, o)
		}
	},
}

// untilDone reads from r until ctx ends: Ctrl-C is the end of a log that is followed, and what has
// been read of it is told. A read that is under way then is left to the end of the program.
func untilDone(ctx context.Context, r io.Reader) io.Reader {
	out, in := io.Pipe()
	go func() {
		_, err := io.Copy(in, r)
		in.CloseWithError(err)
	}()
	context.AfterFunc(ctx, func() { in.Close() })
	return out
}
