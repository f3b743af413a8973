package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestAComparisonThatCannotBeMadeIsRefusedAtOnce(t *testing.T) {
	for args, want := range map[string]string{
		"-rounds 0":         "-rounds=0: want 1 to 1000",
		"-duration 1ms":     "-duration=1ms: want 100ms to",
		"-concurrency 0":    "-concurrency=0",
		"-visitors 1000000": "-visitors=1000000",
		"now":               `unexpected argument "now"`,
	} {
		var stdout, stderr bytes.Buffer
		code := runHere(t.Context(), nil, &stdout, &stderr, append([]string{"compare"}, strings.Fields(args)...)...)
		if code != 2 || !strings.Contains(stderr.String(), want) {
			t.Errorf("%s: exit code %d, printed %q and %q", args, code, &stdout, &stderr)
		}
	}
}
