package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"

	"example.com/grafana-tempo-go-demo/demo/doctor"
	"example.com/grafana-tempo-go-demo/demo/term"
)

var doctorCommand = command{
	name:    "doctor",
	summary: "follow one request through a running stack, and name the first link that is broken",
	about: `Sends one request through a running stack, follows its trace link by link, and names the first link that is broken,
with likely causes and what to do. Exit code: 0 all is well, 1 something is broken, 2 wrong usage.

Without flags it examines the compose stack, or a run of go run ./demo if that is what runs. When several run, it names
them all. Compose's addresses follow TRAEFIK_PORT, TEMPO_PORT, PROMETHEUS_PORT, LOKI_PORT and GRAFANA_PORT, of the
environment or of the file .env. A flag replaces one of compose's addresses; an empty one, as in -grafana=, says that the
stack does not have that part. The -gateway of a run of go run ./demo, alone, examines that run.`,
	declare: func(fs *flag.FlagSet) action {
		addresses := map[string]string{}
		for _, p := range doctor.Parts() {
			fs.Func(p.Name, "`URL` of "+p.About+", in compose "+p.Host+":"+p.Port, put(addresses, p.Name))
		}
		ebpf := fs.Bool("ebpf", false, "look for the spans that the kernel makes of uservice1 and uservice2, too (docs/ebpf.md)")
		asJSON := fs.Bool("json", false, "print the report as JSON when all is done")
		return func(s session) error {
			o, err := doctor.Find(s.ctx, addresses)
			switch {
			case s.ctx.Err() != nil: // what was found until then may not be all
				return context.Cause(s.ctx)
			case errors.Is(err, doctor.ErrNothingRuns):
				return err
			case err != nil:
				return misused("%w", err)
			}
			o.EBPF = *ebpf
			return runDoctor(s, o, *asJSON)
		}
	},
}

// runDoctor prints the report. A broken link is errPrinted.
func runDoctor(s session, o doctor.Options, asJSON bool) error {
	var report doctor.Report
	var err error
	if asJSON {
		if report, err = doctor.Run(s.ctx, o); err != nil {
			return err
		}
		enc := json.NewEncoder(s.stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(report); err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
	} else if report, err = doctor.RunText(s.ctx, o, s.stdout, term.Colours(s.stdout)); err != nil {
		return err
	}
	if !report.OK {
		return errPrinted
	}
	return nil
}
