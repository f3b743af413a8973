package process

import (
	"os"
	"syscall"

	"golang.org/x/sys/windows"
)

// childAttributes put a child into a group of its own, out of reach of the console's Ctrl-C.
var childAttributes = syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP}

// terminate asks a process to end, having finished what it does. Windows has no SIGTERM; a Go
// program sees the break event as an interrupt.
func terminate(p *os.Process) error {
	return windows.GenerateConsoleCtrlEvent(windows.CTRL_BREAK_EVENT, uint32(p.Pid))
}

func kill(p *os.Process) { _ = p.Kill() }

// ParentGone returns a channel that is closed when the parent has ended: here one can wait for it.
func ParentGone() <-chan struct{} {
	gone := make(chan struct{})
	parent, err := os.FindProcess(os.Getppid())
	if err != nil {
		return gone
	}
	go func() {
		_, _ = parent.Wait()
		close(gone)
	}()
	return gone
}
