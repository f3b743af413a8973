package main

import (
	"context"
	"encoding/json"
	"errors"
	"example.com/grafana-tempo-go-demo/demo/term"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"example.com/grafana-tempo-go-demo/demo/lab"
	"example.com/grafana-tempo-go-demo/demo/stack"
)

// wrap breaks a text into lines of at most width columns, where its words allow.
func wrap(text string, width int) string {
	var b strings.Builder
	column := 0
	for word := range strings.FieldsSeq(text) {
		switch n := utf8.RuneCountInString(word); {
		case column == 0:
			column = n
		case column+1+n > width:
			b.WriteByte('\n')
			column = n
		default:
			b.WriteByte(' ')
			column += 1 + n
		}
		b.WriteString(word)
	}
	return b.String() + "\n"
}

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
	o.Logs, o.Messages = out, out
	s, err := stack.Start(soft, o)
	if err != nil {
		return err
	}
	if c.json {
		err = json.NewEncoder(stdout).Encode(s.URLs())
	} else {
		_, err = fmt.Fprintf(stdout, "\nEverything is ready:\n%s  6. Stop it all:            Ctrl-C\n\n", describe(s.URLs()))
	}
	if f, ok := lab.Named(c.broken.value); ok && err == nil {
		_, err = fmt.Fprintf(out, "The telemetry is broken on purpose (%s): %s.\n%s\n", f.Name, f.Title, wrap("What you see then: "+f.Symptom, term.Width(out)))
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
