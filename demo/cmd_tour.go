package main

import (
	"flag"

	"example.com/grafana-tempo-go-demo/demo/tour"
)

var tourCommand = command{
	name:    "tour",
	summary: "tell the whole story once in the terminal and exit",
	about: `Starts everything on free ports, calls uservice1 and uservice3 once with the same query, draws the trace of the
second call, shows where the propagation header went and where the error began or the time went, and stops. The
drawing is as wide as COLUMNS or the terminal.`,
	declare: func(fs *flag.FlagSet) action {
		var o tour.Options
		fs.Func("fail", "make this `dependency` fail in both calls: redis or database", choose(&o.Fail, "redis", "database"))
		fs.Func("slow", "make this `dependency` take two seconds longer in both calls: redis or database",
			choose(&o.Slow, "redis", "database"))
		return func(s session) error {
			o.Bin, o.Messages = s.bin, s.stderr
			report, err := tour.Run(s.ctx, s.kill, o)
			if err != nil {
				return err
			}
			return report.Text(s.stdout)
		}
	},
}
