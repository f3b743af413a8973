package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestLedgerOfAFollowedLogEndsWithCtrlC(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	defer in.Close()
	go func() {
		fmt.Fprintln(in, `uservice2 | {"time":"2026-11-21T01:00:00Z","msg":"request","method":"GET","path":"/","headers":{}}`)
		fmt.Fprintln(in) // taken only when the line before has been read
		cancel()
	}()
	var stdout, stderr bytes.Buffer
	if code := runHere(ctx, out, &stdout, &stderr, "ledger"); code != 0 || !strings.Contains(stdout.String(), "? -> uservice2") {
		t.Errorf("%d: %s%s", code, &stdout, &stderr)
	}
}
