package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"example.com/grafana-tempo-go-demo/demo/doctor"
	"example.com/grafana-tempo-go-demo/demo/term"
)

// doctorConfig is what the flags of `doctor` set.
type doctorConfig struct {
	urls  map[string]*string // by part
	stack oneOf
	wait  time.Duration
	json  bool
}

// doctorFlags declares the flags of `doctor`.
func doctorFlags(c *doctorConfig, stderr io.Writer) *flag.FlagSet {
	fs := newFlags("doctor", `Sends one request through a running stack, follows its trace link by link, and names the first link that is broken,
with likely causes and what to do. Exit code: 0 all is well, 1 something is broken, 2 wrong usage.

Without flags it examines the compose stack, or a run of go run ./demo if that is what runs. Compose's addresses follow
TRAEFIK_PORT, TEMPO_PORT, PROMETHEUS_PORT, LOKI_PORT and GRAFANA_PORT, of the environment or of the file .env. A flag
replaces one of compose's addresses; an empty one, as in -grafana=, says that the stack does not have that part.`, stderr)
	c.urls = map[string]*string{}
	for _, p := range doctor.Parts() {
		c.urls[p.Name] = fs.String(p.Name, "", "`URL` of "+p.About+", in compose http://127.0.0.1:"+p.Port)
	}
	c.stack = oneOf{string(doctor.Auto), []string{string(doctor.Auto), string(doctor.Compose), string(doctor.Local)}}
	fs.Var(&c.stack, "stack", "which `stack` to examine when both run: auto, compose or local (go run ./demo)")
	fs.DurationVar(&c.wait, "wait", 0, "how long to wait, from the answer on, for what arrives later; "+
		"0 waits for each as long as it usually needs")
	fs.BoolVar(&c.json, "json", false, "print the report as JSON when all is done")
	return fs
}

// errExamined marks a doctor's finding, which has been printed.
var errExamined = errors.New("the doctor found something")

// runDoctor examines a running stack.
func runDoctor(soft, _ context.Context, args []string, stdout, stderr io.Writer) error {
	var c doctorConfig
	fs := doctorFlags(&c, stderr)
	if err := parse(fs, args, stdout); err != nil {
		return err
	}
	if c.wait < 0 {
		return misused(fs, "-wait=%s is negative", c.wait)
	}
	addresses := map[string]string{}
	for name := range given(fs) {
		if u, ok := c.urls[name]; ok {
			addresses[name] = *u
		}
	}
	system := doctor.System{Getenv: os.Getenv, Dir: ".", TempDir: os.TempDir()}
	o, err := doctor.Find(soft, doctor.Kind(c.stack.value), addresses, system)
	if err != nil {
		return misused(fs, "%w", err)
	}
	o.Wait = c.wait

	var report doctor.Report
	if c.json {
		if report, err = doctor.Run(soft, o); err != nil {
			return err
		}
		enc := json.NewEncoder(stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(report); err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
	} else if report, err = doctor.RunText(soft, o, stdout, term.Colours(stdout)); err != nil {
		return err
	}
	if !report.OK {
		return errExamined
	}
	return nil
}
