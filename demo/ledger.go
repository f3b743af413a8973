package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// ledgerConfig is what the flags of `ledger` set.
type ledgerConfig struct {
	trace string
	limit int
	json  bool
}

// ledgerFlags declares the flags of `ledger`; -help and any other table of them come from here.
func ledgerFlags(c *ledgerConfig, stderr io.Writer) *flag.FlagSet {
	fs := newFlags("ledger", "Reads the log of the services and the proxy from standard input, and tells for each request which propagation\n"+
		"header left and arrived at each hop, and what became of the trace. The log is that of docker compose, or of `demo up`:\n\n"+
		"  docker compose logs | go run ./demo ledger", stderr)
	fs.StringVar(&c.trace, "trace", "", "tell only of the trace with this `id`; leading zeros may be missing")
	fs.IntVar(&c.limit, "limit", ledger.DefaultLimit, "tell of this `number` of requests at most, the newest")
	fs.BoolVar(&c.json, "json", false, "print one JSON object instead")
	return fs
}

// runLedger tells of the log on standard input.
func runLedger(soft, _ context.Context, args []string, stdout, stderr io.Writer) error {
	return readLedger(soft, args, os.Stdin, stdout, stderr)
}

func readLedger(soft context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	var c ledgerConfig
	fs := ledgerFlags(&c, stderr)
	if err := parse(fs, args, stdout); err != nil {
		return err
	}
	if c.limit < 1 {
		return misused(fs, "-limit=%d: want 1 or more", c.limit)
	}
	if f, ok := stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprintln(stderr, "reading a log from the terminal; usually one is piped in: docker compose logs | go run ./demo ledger")
	}
	return ledger.Run(untilDone(soft, stdin), stdout, stderr, ledger.RunOptions{
		JSON: c.json, Trace: c.trace, Limit: c.limit, Upstreams: topology.Upstreams(),
	})
}

// untilDone reads from r until ctx ends: Ctrl-C is the end of a log that is followed, and what there is of it is told. A
// read that is under way then is left to the end of the program.
func untilDone(ctx context.Context, r io.Reader) io.Reader {
	out, in := io.Pipe()
	go func() {
		_, err := io.Copy(in, r)
		in.CloseWithError(err)
	}()
	context.AfterFunc(ctx, func() { in.Close() })
	return out
}
