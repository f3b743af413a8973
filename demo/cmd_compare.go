package main

import (
	"flag"
	"time"

	"example.com/grafana-tempo-go-demo/demo/compare"
	"example.com/grafana-tempo-go-demo/demo/term"
)

var compareCommand = command{
	name:    "compare",
	summary: "measure on this machine what instrumentation costs, beside what it buys",
	about: `Measures what instrumentation costs on this machine: the plain pair and the instrumented pair in turn, under the
same load, with the mocks at zero and then as they are. It takes some minutes; leave the machine alone meanwhile.`,
	declare: func(fs *flag.FlagSet) action {
		var o compare.Options
		fs.IntVar(&o.Rounds, "rounds", 5, "how many `times` to measure each pair under each load")
		fs.DurationVar(&o.Duration, "duration", 5*time.Second,
			"`time` of one pair in one round; with the mocks as they are at least 4s")
		quick := fs.Bool("quick", false, "two rounds of a second: less than a minute, and less reliable")
		return func(s session) error {
			if *quick {
				o.Rounds, o.Duration = 2, time.Second
			}
			if o.Rounds < 1 || o.Duration < 100*time.Millisecond {
				return misused("-rounds=%d -duration=%s: want at least 1 and 100ms", o.Rounds, o.Duration)
			}
			o.Messages = s.stderr
			report, err := compare.Run(s.ctx, s.kill, o)
			if err != nil {
				return err
			}
			return report.Text(s.stdout, term.Width(s.stdout))
		}
	},
}
