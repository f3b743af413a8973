//go:build unix

package compare

import (
	"os"
	"os/exec"
	"syscall"
)

// terminate asks a process to end, having finished what it does.
func terminate(p *os.Process) error { return p.Signal(syscall.SIGTERM) }

// kill ends a process and whatever it started: it leads a process group of its own.
func kill(p *os.Process) { _ = syscall.Kill(-p.Pid, syscall.SIGKILL) }

// interruptGroup asks the go command and what it runs to end, and to remove their temporary files.
func interruptGroup(cmd *exec.Cmd) error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
