package main

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"example.com/grafana-tempo-go-demo/demo/discover"
	"example.com/grafana-tempo-go-demo/demo/lab"
	"example.com/grafana-tempo-go-demo/demo/stack"
	"example.com/grafana-tempo-go-demo/demo/term"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// propagatorsVariable lists the headers that the whole demo reads and writes, as it does for any
// program with OpenTelemetry.
const propagatorsVariable = "OTEL_PROPAGATORS"

var upCommand = command{
	name:    "up",
	summary: "start everything, print every address, run until Ctrl-C (the default)",
	about: `Starts everything, prints every address, and runs until Ctrl-C; a second Ctrl-C kills at once.
An address whose port is taken moves to a free one, unless it was given: then it is an error.`,
	declare: declareUp,
}

func declareUp(fs *flag.FlagSet) action {
	asJSON := fs.Bool("json", false,
		"when all is ready, print the addresses as one line of JSON; logs go to standard error")
	o := stack.Options{Addrs: map[string]string{}, Propagators: map[string]string{}}
	faults := "break the telemetry on purpose, by one `fault` of these; docs/lab.md says how to hunt them, and the page can\n" +
		"change them while the demo runs"
	var breaking string
	var names []string
	for _, f := range lab.Faults() {
		faults += fmt.Sprintf("\n  %-20s %s", f.Name, f.Title)
		names = append(names, f.Name)
	}
	names = append(names, lab.Random, lab.Random+":7")
	faults += "\n  random               one of them, for you to find on the page; random:7 gives a class the same ones in order"
	fs.Func("break", faults, func(s string) error {
		if seed, ok := strings.CutPrefix(s, lab.Random+":"); ok {
			n, err := strconv.ParseUint(seed, 10, 64)
			if err != nil || n == 0 {
				return errors.New("want a whole number from 1, such as random:7")
			}
			breaking, o.Seed = lab.Random, n
			return nil
		}
		return choose(&breaking, names...)(s)
	})
	for _, p := range topology.Parts() {
		fs.Func(p.Name+"-addr", "`host:port` of "+p.About+" (default "+p.Addr+")", put(o.Addrs, p.Name))
	}
	parts := []string{topology.Gateway, topology.Uservice3, topology.Uservice4}
	for _, part := range parts {
		o.Propagators[part] = os.Getenv(propagatorsVariable)
	}
	fs.Func("propagators", "`part=list` of the formats that a part reads and writes, such as uservice4=tracecontext,jaeger;\n"+
		"parts are gateway, uservice3 and uservice4, and the flag may be given for each; the others take\n"+
		propagatorsVariable+", or jaeger",
		func(s string) error {
			part, list, _ := strings.Cut(s, "=")
			if !slices.Contains(parts, part) || list == "" {
				return errors.New("want part=list, such as uservice4=tracecontext,jaeger, for " + term.List(parts))
			}
			o.Propagators[part] = list
			return nil
		})
	return func(s session) error {
		o.Bin = s.bin
		return runUp(s, o, breaking, *asJSON)
	}
}

// runUp starts everything, breaks what is to be broken, and runs until the session ends.
func runUp(s session, o stack.Options, breaking string, asJSON bool) error {
	out := s.stdout
	if asJSON { // standard output is for the one line
		out = s.stderr
	}
	o.Logs, o.Messages = out, out
	running, err := stack.Start(s.ctx, o)
	if err != nil {
		return err
	}
	switch breaking {
	case "":
	case lab.Random:
		err = running.Faults().Begin()
	default:
		err = running.Faults().Set(breaking)
	}
	if err == nil && asJSON {
		err = json.NewEncoder(s.stdout).Encode(running.URLs())
	} else if err == nil {
		err = printReady(out, running.URLs(), running.Faults().State())
	}
	problems := []error{err}
	for err == nil && s.ctx.Err() == nil {
		select {
		case <-s.ctx.Done():
		case death := <-running.Deaths():
			fmt.Fprintf(s.stderr, "demo: %v; the rest keeps running\n", death)
			problems = append(problems, death)
		}
	}
	if cause := context.Cause(s.ctx); cause != nil {
		fmt.Fprintf(out, "\n%v: stopping; Ctrl-C again kills at once\n", cause)
	}
	problems = append(problems, running.Stop(s.kill))
	err = errors.Join(problems...)
	if err == nil {
		fmt.Fprintln(out, "stopped; nothing is left behind")
	}
	return err
}

//go:embed up.tmpl
var readyText string

var ready = template.Must(template.New("up").Parse(readyText))

// printReady prints every address, what is broken from the start, and what to do next, in one piece:
// log lines go there too.
func printReady(w io.Writer, u discover.URLs, faults lab.State) error {
	page := struct {
		discover.URLs
		lab.State
		Port  string // of the gateway, as in a URL
		Table []topology.Service
	}{URLs: u, State: faults, Table: topology.Services()}
	if g, err := url.Parse(u.Gateway); err == nil && g.Port() != "80" {
		page.Port = ":" + g.Port()
	}
	slices.SortFunc(page.Table, func(a, b topology.Service) int { return cmp.Compare(a.Name, b.Name) })
	var b bytes.Buffer
	if err := ready.Execute(&b, page); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}
