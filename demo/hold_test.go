package main

import (
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestServiceThatDiesIsStartedAgainWhenThatIsAskedFor(t *testing.T) {
	cmd, tmp := demo(t, append([]string{"up", "-json", "-restart"}, anywhere()...)...)
	r := up(t, cmd, tmp)
	pid := func() (pid int64) {
		for _, s := range r.uservice3(t).Spans {
			if n, ok := s.Resource["process.pid"].(int64); ok && s.Service == "uservice4" {
				pid = n
			}
		}
		return pid
	}
	before := pid()
	if before == 0 {
		t.Fatal("no span of uservice4 has its pid")
	}
	p, err := os.FindProcess(int(before))
	if err == nil {
		err = p.Signal(syscall.SIGKILL)
	}
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "word of it", func() bool {
		return strings.Contains(r.stderr.String(), "uservice4 ended by itself (signal: killed); it starts again")
	})
	waitFor(t, "successor", func() bool { return strings.Contains(r.stderr.String(), `"msg":"it runs again"`) })
	if after := pid(); after == 0 || after == before {
		t.Errorf("pid %d before, %d after", before, after)
	}
	_ = cmd.Process.Signal(os.Interrupt)
	r.wait(t)
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, r.stderr)
	}
	gone(t, tmp)
}
