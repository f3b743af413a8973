package stack

import (
	"os/exec"
	"syscall"
)

// ownGroup puts a child into a process group of its own, out of reach of the terminal's Ctrl-C: the runner alone says
// when it stops. Should the runner be killed, the system kills the child, as nobody would be left to do it.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
