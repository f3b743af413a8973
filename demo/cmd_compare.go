package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/compare"
	"example.com/grafana-tempo-go-demo/demo/term"
)

// sinkWord is the argument by which `compare` starts itself as the process that takes the spans. It
// is not for users.
const sinkWord = "sink"

// compareConfig is what the flags of `compare` set.
type compareConfig struct {
	compare.Options
	quick, json bool
	plot        string
}

// compareFlags declares the flags of `compare`.
func compareFlags(c *compareConfig, stderr io.Writer) *flag.FlagSet {
	about := "Measures what instrumentation costs on this machine: the plain pair and the instrumented pair in turn, under the\n" +
		"same load, with the mocks at zero and then as they are. It takes some minutes; leave the machine alone meanwhile."
	fs := newFlags("compare", about, stderr)
	fs.IntVar(&c.Rounds, "rounds", 5, "`times` that each pair is measured under each load")
	fs.DurationVar(&c.Duration, "duration", 5*time.Second, "`time` of one pair in one round; with the mocks as they are at least 4s")
	fs.IntVar(&c.Concurrency, "concurrency", 16, "`number` of connections with the mocks at zero")
	fs.IntVar(&c.Visitors, "visitors", 500, "`number` of connections with the mocks as they are, where each waits most of the time")
	fs.BoolVar(&c.quick, "quick", false, "two rounds of a second: less than a minute, and less to rely on")
	fs.BoolVar(&c.json, "json", false, "print one JSON object instead")
	fs.StringVar(&c.plot, "plot", "", "draw the ratios and the latencies to this `file` too, which ends in .svg")
	return fs
}

// check completes the flags, and says what is wrong with them.
func (c *compareConfig) check(given map[string]bool) error {
	if c.quick && !given["rounds"] {
		c.Rounds = 2
	}
	if c.quick && !given["duration"] {
		c.Duration = time.Second
	}
	for _, f := range []struct {
		name        string
		value, most int
	}{{"rounds", c.Rounds, 1000}, {"concurrency", c.Concurrency, 10_000}, {"visitors", c.Visitors, 10_000}} {
		if f.value < 1 || f.value > f.most {
			return fmt.Errorf("-%s=%d: want 1 to %d", f.name, f.value, f.most)
		}
	}
	if c.Duration < 100*time.Millisecond || c.Duration > time.Hour {
		return fmt.Errorf("-duration=%s: want 100ms to %s", c.Duration, time.Hour)
	}
	if c.plot != "" && strings.ToLower(filepath.Ext(c.plot)) != ".svg" {
		return fmt.Errorf("-plot=%q: the name has to end in .svg", c.plot)
	}
	return nil
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
	if err := c.check(given(fs)); err != nil {
		return misused(fs, "%w", err)
	}
	if c.plot != "" {
		// A file that cannot be written must not cost minutes of measuring.
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
	c.Sink, c.Messages = []string{self, "compare", sinkWord}, stderr
	report, err := compare.Run(soft, hard, c.Options)
	if err != nil {
		return err
	}
	if c.plot != "" {
		var picture bytes.Buffer
		if err := report.SVG(&picture); err != nil {
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
	return report.Text(stdout, term.Width(stdout), term.ASCIIOnly(os.Getenv))
}
