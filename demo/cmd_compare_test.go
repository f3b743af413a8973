package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAComparisonThatCannotBeMadeIsRefusedAtOnce(t *testing.T) {
	dir := t.TempDir()
	for name, test := range map[string]struct {
		args string
		code int
		want string
	}{
		"no round":                 {"-rounds 0", 2, "-rounds=0: want 1 to 1000"},
		"no time":                  {"-duration 1ms", 2, "-duration=1ms: want 100ms to"},
		"no connection":            {"-concurrency 0", 2, "-concurrency=0"},
		"too many visitors":        {"-visitors 1000000", 2, "-visitors=1000000"},
		"a picture of no kind":     {"-plot cost.png", 2, "has to end in .svg"},
		"a page":                   {"-plot cost.html", 2, "has to end in .svg"},
		"a picture without a home": {"-plot " + filepath.Join(dir, "none", "cost.svg"), 1, "plot: open"},
		"an argument":              {"now", 2, `unexpected argument "now"`},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := runHere(t.Context(), nil, &stdout, &stderr, append([]string{"compare"}, strings.Fields(test.args)...)...)
			if code != test.code || !strings.Contains(stderr.String(), test.want) {
				t.Errorf("exit code %d, printed %q and %q", code, &stdout, &stderr)
			}
		})
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
