package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
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
	if p.Ended() || p.Asked() || !Alive(p.cmd.Process.Pid) {
		t.Error("it should run, and nobody has asked it to end")
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if !p.Ended() || !p.Asked() || Alive(p.cmd.Process.Pid) {
		t.Error("it should have ended as it was asked to")
	}
	if len(lines) != 3 || lines[2] != "the result" {
		t.Errorf("its output: %q", lines)
	}
	if cpu, _ := p.Usage(); cpu <= 0 {
		t.Error("it must have used some processor time")
	}
}

func TestLinesThatNobodyReads(t *testing.T) {
	p := startChild(t, "obeys", nil)
	if _, err := p.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(t.Context()); err != nil || p.LastLine() != "the result" {
		t.Errorf("last line %q, %v", p.LastLine(), err)
	}
}

func TestAProcessThatEndsBeforeItIsReady(t *testing.T) {
	p := startChild(t, "fails", nil)
	_, err := p.Wait(t.Context())
	if err == nil || !strings.Contains(err.Error(), "child ended before it was ready: exit status 3: cannot go on") {
		t.Errorf("got %v", err)
	}
	if p.Asked() {
		t.Error("it ended by itself")
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Errorf("its end is known already, and was told again: %v", err)
	}
}

func TestAProcessThatDoesNotStop(t *testing.T) {
	p := startChild(t, "stubborn", nil)
	if _, err := p.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, errors.New("no more time"))
	defer cancel()
	if err := p.Stop(ctx); err == nil || err.Error() != "child was killed: no more time" {
		t.Errorf("got %v", err)
	}
}

func TestAProcessThatStopsBadly(t *testing.T) {
	p := startChild(t, "stops badly", nil)
	if _, err := p.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := p.Stop(t.Context())
	if err == nil || err.Error() != "child did not stop well within 25s: exit status 1: lost a request" {
		t.Errorf("got %v", err)
	}
}
