package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"example.com/grafana-tempo-go-demo/demo/term"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"example.com/grafana-tempo-go-demo/demo/compare"
)

// sinkWord is the argument by which `compare` starts itself as the process that takes the spans. It is not for users.
const sinkWord = "sink"

// compareConfig is what the flags of `compare` set.
type compareConfig struct {
	rounds, concurrency, visitors int
	duration                      time.Duration
	quick, json                   bool
	plot                          string
}

// compareFlags declares the flags of `compare`; -help and any other table of them come from here.
func compareFlags(c *compareConfig, stderr io.Writer) *flag.FlagSet {
	fs := newFlags("compare", "Measures what instrumentation costs on this machine: the plain pair and the instrumented pair in turn, under the\n"+
		"same load, with the mocks at zero and then as they are. It takes some minutes; leave the machine alone meanwhile.", stderr)
	fs.IntVar(&c.rounds, "rounds", 5, "`times` that each pair is measured under each load")
	fs.DurationVar(&c.duration, "duration", 5*time.Second, "`time` of one pair in one round; with the mocks as they are at least 4s")
	fs.IntVar(&c.concurrency, "concurrency", 16, "`number` of connections with the mocks at zero")
	fs.IntVar(&c.visitors, "visitors", 500, "`number` of connections with the mocks as they are, where each waits most of the time")
	fs.BoolVar(&c.quick, "quick", false, "two rounds of a second: less than a minute, and less to rely on")
	fs.BoolVar(&c.json, "json", false, "print one JSON object instead")
	fs.StringVar(&c.plot, "plot", "", "write a picture to this `file` too: .svg, or .html with all figures")
	return fs
}

// runCompare measures and prints. What it starts is gone when it returns.
func runCompare(soft, hard context.Context, args []string, stdout, stderr io.Writer) (err error) {
	if len(args) == 1 && args[0] == sinkWord {
		return compare.ServeSink(soft, stdout)
	}
	var c compareConfig
	fs := compareFlags(&c, stderr)
	if err := parse(fs, args, stdout); err != nil {
		return err
	}
	requests := 20_000
	if c.quick {
		requests = 5_000
		if !given(fs)["rounds"] {
			c.rounds = 2
		}
		if !given(fs)["duration"] {
			c.duration = time.Second
		}
	}
	const maxDuration = time.Hour
	switch {
	case c.rounds < 1 || c.rounds > 1000:
		return misused(fs, "-rounds=%d: want 1 to 1000", c.rounds)
	case c.duration < 100*time.Millisecond || c.duration > maxDuration:
		return misused(fs, "-duration=%s: want 100ms to %s", c.duration, maxDuration)
	case c.concurrency < 1 || c.concurrency > 10_000:
		return misused(fs, "-concurrency=%d: want 1 to 10000", c.concurrency)
	case c.visitors < 1 || c.visitors > 10_000:
		return misused(fs, "-visitors=%d: want 1 to 10000", c.visitors)
	}
	format := ""
	if c.plot != "" {
		if format, err = compare.PlotFormat(c.plot); err != nil {
			return misused(fs, "-plot: %w", err)
		}
		// It would be a pity to measure for minutes and then not to be able to write.
		_, statErr := os.Stat(c.plot)
		file, openErr := os.OpenFile(c.plot, os.O_CREATE|os.O_WRONLY, 0o666)
		if openErr != nil {
			return fmt.Errorf("plot: %w", openErr)
		}
		_ = file.Close()
		if errors.Is(statErr, os.ErrNotExist) {
			defer func() {
				if err != nil {
					_ = os.Remove(c.plot)
				}
			}()
		}
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program, to start it again: %w", err)
	}
	report, err := compare.Run(soft, hard, compare.Options{
		Rounds: c.rounds, Duration: c.duration, Concurrency: c.concurrency, Visitors: c.visitors, Requests: requests,
		Sink:     []string{self, "compare", sinkWord},
		Messages: stderr, Live: term.Colours(stderr),
	})
	if err != nil {
		return err
	}
	if c.plot != "" {
		var picture bytes.Buffer
		if err := report.Plot(&picture, format); err != nil {
			return fmt.Errorf("plot: %w", err)
		}
		if err := os.WriteFile(c.plot, picture.Bytes(), 0o666); err != nil {
			return fmt.Errorf("plot: %w", err)
		}
		fmt.Fprintf(stderr, "the picture is in %s\n", c.plot)
	}
	if c.json {
		return json.NewEncoder(stdout).Encode(report)
	}
	return report.Text(stdout, compare.TextOptions{Width: term.Width(stdout), ASCII: term.ASCIIOnly(os.Getenv)})
}
