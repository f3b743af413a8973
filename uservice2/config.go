package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

var errUsage = errors.New("usage") // an error that package flag has printed, with the usage

// config is what flags and environment set. serviceConfig is this service's own part.
type config struct {
	addr        string
	logLevel    slog.Level
	healthcheck bool

	serviceConfig
}

// parseConfig reads the environment, then the flags, which win. The variable of a flag is its name
// in upper case, with _ for each dash. An empty variable counts as not set: Compose passes them on.
func parseConfig(args []string, getenv func(string) string, stderr io.Writer) (config, error) {
	var conf config
	flags := flag.NewFlagSet("service", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&conf.addr, "addr", "127.0.0.1:7878", "listen on this `host:port`; port 0 takes a free one")
	flags.TextVar(&conf.logLevel, "log-level", slog.LevelInfo, "least `level` that is logged: debug, info, warn or error")
	flags.BoolVar(&conf.healthcheck, "healthcheck", false, "ask the service that listens on -addr whether it is ready, and exit")
	conf.serviceConfig.register(flags)

	var problems []error
	flags.VisitAll(func(f *flag.Flag) {
		variable := strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		f.Usage += " (" + variable + ")"
		if value := getenv(variable); value != "" {
			if err := flags.Set(f.Name, value); err != nil {
				problems = append(problems, fmt.Errorf("%s=%q: want a value such as %s", variable, value, f.DefValue))
			}
		}
	})
	if err := flags.Parse(args); err != nil {
		return conf, fmt.Errorf("%w: %w", errUsage, err)
	}
	if flags.NArg() > 0 {
		problems = append(problems, fmt.Errorf("unexpected argument %q: settings are flags, see -help", flags.Arg(0)))
	}
	if !conf.healthcheck && len(problems) == 0 {
		problems = append(problems, conf.serviceConfig.check())
	}
	return conf, errors.Join(problems...)
}
