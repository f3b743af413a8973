package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary stand in for a program, in the way that CHILD says.
func TestMain(m *testing.M) {
	child := os.Getenv("CHILD")
	if child == "" {
		os.Exit(m.Run())
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if child == "fails" {
		fmt.Fprintln(os.Stderr, "first")
		fmt.Fprintln(os.Stderr, "cannot go on")
		os.Exit(3)
	}
	fmt.Println(`{"msg":"serving metrics","addr":"127.0.0.1:2"}`)
	fmt.Println(`{"msg":"listening","addr":"127.0.0.1:1"}`)
	<-signals
	switch child {
	case "stubborn":
		select {}
	case "stops badly":
		fmt.Fprintln(os.Stderr, "lost a request")
		os.Exit(1)
	}
	fmt.Println("the result")
}

func startChild(t *testing.T, child string, stdout func([]byte)) *Process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start(Options{Name: "child", Path: self, Env: append(os.Environ(), "CHILD="+child), Stdout: stdout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

func TestAProcessFromItsStartToItsEnd(t *testing.T) {
	var lines []string
	p := startChild(t, "obeys", func(line []byte) { lines = append(lines, string(line)) })
	addr, err := p.Wait(t.Context())
	if err != nil || addr != "127.0.0.1:1" || p.Metrics() != "127.0.0.1:2" {
		t.Errorf("listens on %q, metrics on %q: %v", addr, p.Metrics(), err)
	}
	if p.Ended() || p.Asked() {
		t.Error("it should run, and nobody has asked it to end")
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if !p.Ended() || !p.Asked() || len(lines) != 3 || p.LastLine() != "the result" {
		t.Errorf("it should have ended as it was asked to; it printed %q", lines)
	}
	if cpu, _ := p.Usage(); cpu <= 0 {
		t.Error("it must have used some processor time")
	}
}

func TestProcessesThatMisbehave(t *testing.T) {
	for _, tc := range []struct{ child, wait, stop string }{
		{"fails", "child ended before it was ready: exit status 3: cannot go on", ""}, // which is known when it is to stop
		{"stubborn", "", "child was killed: no more time"},
		{"stops badly", "", "child did not stop well within 25s: exit status 1: lost a request"},
	} {
		t.Run(tc.child, func(t *testing.T) {
			p := startChild(t, tc.child, nil)
			_, err := p.Wait(t.Context())
			if text := fmt.Sprint(err); err != nil && text != tc.wait || err == nil && tc.wait != "" {
				t.Errorf("waiting for it: %v", err)
			}
			ctx := t.Context()
			if tc.child == "stubborn" {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeoutCause(ctx, 100*time.Millisecond, errors.New("no more time"))
				defer cancel()
			}
			err = p.Stop(ctx)
			if text := fmt.Sprint(err); err != nil && text != tc.stop || err == nil && tc.stop != "" {
				t.Errorf("stopping it: %v", err)
			}
		})
	}
}

func TestListeningLine(t *testing.T) {
	for line, addr := range map[string]string{
		`{"time":"2026-01-01T00:00:00Z","level":"INFO","msg":"listening","addr":"127.0.0.1:43211"}`: "127.0.0.1:43211",
		`{"level":"INFO","msg":"request","addr":"127.0.0.1:43211"}`:                                 "",
		`{"msg":"request","path":"listening","addr":"evil:1"}`:                                      "",
		`{"msg":"listening","addr":7}`:                                                              "",
		`"listening" addr=1`:                                                                        "",
	} {
		p := Process{ready: make(chan struct{})}
		if p.listen([]byte(line)); p.addr != addr {
			t.Errorf("%s: got %q", line, p.addr)
		}
	}
}

func TestLinesComeWhole(t *testing.T) {
	var got []string
	w := &lines{emit: func(line []byte) { got = append(got, string(line)) }}
	for _, s := range []string{"a\nb\n", "a", "b", "c\n\nrest"} {
		_, _ = io.WriteString(w, s)
	}
	w.flush()
	if want := []string{"a", "b", "abc", "", "rest"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
