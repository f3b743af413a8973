//go:build unix

package process

import (
	"os"
	"syscall"
	"time"
)

// childAttributes put a child into a group of its own, out of reach of the terminal's Ctrl-C.
var childAttributes = syscall.SysProcAttr{Setpgid: true}

// terminate asks a process and whatever it started to end, having finished what they do: it leads a
// process group of its own.
func terminate(p *os.Process) error { return syscall.Kill(-p.Pid, syscall.SIGTERM) }

func kill(p *os.Process) { _ = syscall.Kill(-p.Pid, syscall.SIGKILL) }

// ParentGone returns a channel that is closed when the process that started this one has ended: the
// system then gives it another parent. There is no portable event for that, so it looks four times a
// second. A program run by `go run` needs it: SIGTERM ends the go command, and not what it runs.
func ParentGone() <-chan struct{} {
	gone := make(chan struct{})
	parent := os.Getppid()
	if parent == 1 {
		return gone // the first process of a container or a system: it does not go before us
	}
	go func() {
		for os.Getppid() == parent {
			time.Sleep(250 * time.Millisecond)
		}
		close(gone)
	}()
	return gone
}
