package main

import (
	"encoding/json"
	"flag"
	"os"
	"time"

	"example.com/grafana-tempo-go-demo/demo/compare"
	"example.com/grafana-tempo-go-demo/demo/term"
)

var compareCommand = command{
	name:    "compare",
	summary: "measure on this machine what instrumentation costs, beside what it buys",
	about: `Measures what instrumentation costs on this machine: the plain pair and the instrumented pair in turn, under the
same load, with the mocks at zero and then as they are. It takes some minutes; leave the machine alone meanwhile.`,
	declare: declareCompare,
}

// sinkCommand is how `compare` starts itself as the process that takes the spans.
var sinkCommand = command{
	name:  compare.SinkCommand,
	about: "Takes the spans of `demo compare`, which starts it.",
	declare: func(*flag.FlagSet) action {
		return func(s session) error { return compare.ServeSink(s.ctx, s.stdout) }
	},
}

func declareCompare(fs *flag.FlagSet) action {
	var o compare.Options
	fs.IntVar(&o.Rounds, "rounds", 5, "how many `times` to measure each pair under each load")
	fs.DurationVar(&o.Duration, "duration", 5*time.Second,
		"`time` of one pair in one round; with the mocks as they are at least 4s")
	fs.IntVar(&o.Concurrency, "concurrency", 16, "`number` of connections with the mocks at zero")
	fs.IntVar(&o.Visitors, "visitors", 500,
		"`number` of connections with the mocks as they are, where each waits most of the time")
	quick := fs.Bool("quick", false, "two rounds of a second: less than a minute, and less reliable")
	asJSON := fs.Bool("json", false, "print one JSON object instead")
	return func(s session) error {
		set := given(fs)
		if *quick && set["rounds"] == "" {
			o.Rounds = 2
		}
		if *quick && set["duration"] == "" {
			o.Duration = time.Second
		}
		for _, f := range []struct {
			name        string
			value, most int
		}{{"rounds", o.Rounds, 1000}, {"concurrency", o.Concurrency, 10_000}, {"visitors", o.Visitors, 10_000}} {
			if f.value < 1 || f.value > f.most {
				return misused("-%s=%d: want 1 to %d", f.name, f.value, f.most)
			}
		}
		if o.Duration < 100*time.Millisecond || o.Duration > time.Hour {
			return misused("-duration=%s: want 100ms to %s", o.Duration, time.Hour)
		}
		o.Messages = s.stderr
		report, err := compare.Run(s.ctx, s.kill, o)
		if err != nil {
			return err
		}
		if *asJSON {
			return json.NewEncoder(s.stdout).Encode(report)
		}
		return report.Text(s.stdout, term.Width(s.stdout), term.ASCIIOnly(os.Getenv))
	}
}
