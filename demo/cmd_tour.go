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
		failing := choice(fs, "fail",
			"make this `dependency` fail in both calls: redis or database", "redis", "database")
		slow := choice(fs, "slow",
			"make this `dependency` take two seconds longer in both calls: redis or database", "redis", "database")
		return func(s session) error {
			report, err := tour.Run(s.ctx, s.kill, tour.Options{Fail: *failing, Slow: *slow, Bin: s.bin, Messages: s.stderr})
			if err != nil {
				return err
			}
			return report.Text(s.stdout)
		}
	},
}
