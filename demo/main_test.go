package main

import (
	"bufio"
	"bytes"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestWrongUse(t *testing.T) {
	for _, tc := range []struct {
		name, args string
		code       int
		want       string
	}{
		{"a command that there is not", "frobnicate", 2, "there is no command \"frobnicate\"\n"},
		{"a flag that there is not", "tour -frobnicate", 2, "flag provided but not defined: -frobnicate\n"},
		{"a flag without its dash", "up json", 2, `unexpected argument "json": everything is set by flags`},
		{"a dependency that there is not", "tour -fail disk", 2, "want redis or database"},
		{"a fault that there is not", "up -break drop-haeder", 2, "want drop-header, malformed-header, not-sampled,"},
		{"a seed that is none", "up -break random:0", 2, "want a whole number from 1"},
		{"formats of nobody", "up -propagators jaeger", 2, "want part=list"},
		{"formats of a plain service", "up -propagators uservice1=jaeger", 2, "for gateway, uservice3 or uservice4"},
		{"a doctor's Tempo without a scheme", "doctor -tempo me:secret@127.0.0.1:3200", 2, "-tempo or TEMPO_PORT="},
		{"a Tempo without a scheme", "explorer -tempo http://me:secret@localhost:32oo", 2, "want a URL such as http://localhost:3200"},
		{"no rounds to compare", "compare -rounds 0", 2, "-rounds=0"},
		{"a ledger of nothing", "ledger -limit 0", 2, "-limit=0: want 1 or more"},
		{"help that lists the faults", "up -h", 0, "killed-before-flush  uservice4 is killed"},
		{"help for the doctor", "doctor -help", 0, "-gateway URL"},
		{"help for the ledger", "ledger -help", 0, "docker compose logs"},
		{"help", "help", 0, "Usage: demo [command]"},
		{"help as a flag", "--help", 0, "tour"},
		{"help in short", "-h", 0, "tour"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := runHere(t.Context(), nil, &stdout, &stderr, strings.Fields(tc.args)...)
			out := &stderr
			if tc.code == 0 {
				out = &stdout
			}
			if code != tc.code || !strings.Contains(out.String(), tc.want) || strings.Count(out.String(), "Usage: demo") != 1 {
				t.Errorf("exit code %d, printed %q and %q", code, &stdout, &stderr)
			}
			if strings.Contains(out.String(), "secret") {
				t.Errorf("it shows a password: %s", out)
			}
			if n := strings.Count(out.String(), "\n"); tc.code == 2 && n > 5 {
				t.Errorf("it does not fit on a screen:\n%s", out)
			}
		})
	}
}

func TestUnderNohupItOutlivesItsShell(t *testing.T) {
	signal.Ignore(syscall.SIGHUP)
	t.Cleanup(func() { signal.Reset(syscall.SIGHUP) })
	if signals, parentGone := ends(); slices.Contains(signals, os.Signal(syscall.SIGHUP)) || parentGone != nil {
		t.Errorf("it ends at %v and %v", signals, parentGone)
	}
}

func TestASecondInterruptEndsACommandThatHangs(t *testing.T) {
	cmd, stdout, stderr := child(t, "demo", "hang")
	if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	go func() { // two at once would count as one
		for cmd.Process.Signal(os.Interrupt) == nil {
			time.Sleep(50 * time.Millisecond)
		}
	}()
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 1 {
		t.Errorf("%v\n%s", cmd.ProcessState, stderr)
	}
}
