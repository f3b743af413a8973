package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
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
	if child == "dies" {
		os.Exit(4)
	}
	<-signals
	switch child {
	case "stubborn":
		select {}
	case "stops badly":
		fmt.Fprintln(os.Stderr, "lost a request")
		os.Exit(1)
	}
	fmt.Print("no end of the line")
}

func startChild(t *testing.T, child string, stdout func([]byte)) (*Process, error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start(t.Context(), Options{Name: "child", Path: self, Env: append(os.Environ(), "CHILD="+child), Stdout: stdout})
	if err == nil {
		t.Cleanup(p.Kill)
	}
	return p, err
}

func TestAProcessFromItsStartToItsEnd(t *testing.T) {
	var lines []string
	p, err := startChild(t, "obeys", func(line []byte) { lines = append(lines, string(line)) })
	if err != nil || p.Addr != "127.0.0.1:1" || p.Metrics != "127.0.0.1:2" {
		t.Fatalf("%+v, %v", p, err)
	}
	if p.Ended() {
		t.Error("it should run")
	}
	for range 2 { // the second does nothing
		if err := p.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if how, asked := p.Wait(); !p.Ended() || !asked || how != "exit status 0" || len(lines) != 3 || lines[2] != "no end of the line" {
		t.Errorf("it ended with %s, having printed %q", how, lines)
	}
	if cpu, _ := p.Usage(); cpu <= 0 {
		t.Error("it must have used some processor time")
	}
}

func TestProcessesThatMisbehave(t *testing.T) {
	for _, tc := range []struct{ child, start, stop string }{
		{"fails", "child ended before it was ready: exit status 3: cannot go on", ""},
		{"stubborn", "", "child was killed: no more time"},
		{"stops badly", "", "child did not stop well within 25s: exit status 1: lost a request"},
		{"dies", "", "child ended by itself: exit status 4"},
	} {
		t.Run(tc.child, func(t *testing.T) {
			p, err := startChild(t, tc.child, nil)
			if text := fmt.Sprint(err); err != nil && text != tc.start || err == nil && tc.start != "" {
				t.Errorf("starting it: %v", err)
			}
			if err != nil {
				return
			}
			ctx := t.Context()
			switch tc.child {
			case "stubborn":
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeoutCause(ctx, 100*time.Millisecond, errors.New("no more time"))
				defer cancel()
			case "dies":
				p.Wait()
			}
			if err = p.Stop(ctx); fmt.Sprint(err) != tc.stop {
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
		var p Process
		if ready := p.listens([]byte(line)); p.Addr != addr || ready != (addr != "") {
			t.Errorf("%s: got %q", line, p.Addr)
		}
	}
}
