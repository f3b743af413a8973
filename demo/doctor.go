package main

import (
	"context"
	"errors"
	"example.com/grafana-tempo-go-demo/demo/term"
	"io"

	"example.com/grafana-tempo-go-demo/demo/doctor"
)

// errExamined marks a doctor's finding, which has been printed.
var errExamined = errors.New("the doctor found something")

// runDoctor examines a running stack.
func runDoctor(soft, _ context.Context, args []string, stdout, stderr io.Writer) error {
	switch doctor.Command(soft, args, doctor.System{Live: term.Colours(stdout)}, stdout, stderr) {
	case 0:
		return nil
	case 2:
		return errUsage
	default:
		return errExamined
	}
}
