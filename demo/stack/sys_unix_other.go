//go:build unix && !linux

package stack

import (
	"os/exec"
	"syscall"
)

// ownGroup puts a child into a process group of its own, out of reach of the terminal's Ctrl-C: the runner alone says
// when it stops. A runner that is killed leaves its children here; they end at their next line of log.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
