package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"example.com/grafana-tempo-go-demo/demo/stack"
)

// runUp starts everything and runs until soft ends.
func runUp(soft, hard context.Context, args []string, stdout, stderr io.Writer) error {
	var c upConfig
	fs := upFlags(&c, stderr)
	if err := parse(fs, args, stdout); err != nil {
		return err
	}
	o, err := c.options(fs)
	if err != nil {
		return err
	}
	out := stdout
	if c.json { // standard output is for the one line
		out = stderr
	}
	o.Logs, o.LogsTerminal = out, colours(out)
	o.Messages, o.MessagesTerminal = out, colours(out)

	s, err := stack.Start(soft, o)
	if err != nil {
		return err
	}
	if c.json {
		err = json.NewEncoder(stdout).Encode(s.URLs())
	} else {
		_, err = fmt.Fprintf(stdout, "\nEverything is ready:\n%s  5. Stop it all:            Ctrl-C\n\n", s.URLs().Describe())
	}
	if err != nil {
		err = fmt.Errorf("print the addresses: %w", err)
	}

	var problems []error
	for err == nil && soft.Err() == nil {
		select {
		case <-soft.Done():
		case d := <-s.Deaths():
			fmt.Fprintf(stderr, "demo: %s ended by itself (%s); the rest goes on\n", d.Part, d.How)
			problems = append(problems, fmt.Errorf("%s ended by itself: %s", d.Part, d.How))
		}
	}
	if cause := context.Cause(soft); cause != nil {
		fmt.Fprintf(out, "\n%v: stopping; Ctrl-C again kills at once\n", cause)
	}
	if stopErr := s.Stop(hard); stopErr != nil {
		problems = append(problems, stopErr)
	}
	if len(problems) == 0 && err == nil {
		fmt.Fprintln(out, "stopped; nothing is left behind")
	}
	return errors.Join(append(problems, err)...)
}
