package compare

import (
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/windows"
)

// ownGroup keeps the console's Ctrl-C from a child, which is told to stop by its starter alone.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP}
}

// terminate asks a process to end, having finished what it does: Windows has no SIGTERM.
func terminate(p *os.Process) error {
	return windows.GenerateConsoleCtrlEvent(windows.CTRL_BREAK_EVENT, uint32(p.Pid))
}

// kill ends a process.
func kill(p *os.Process) { _ = p.Kill() }

// interruptGroup asks the go command and what it runs to end.
func interruptGroup(cmd *exec.Cmd) error { return terminate(cmd.Process) }

// Memory is not measured here; the report leaves it out.
func peakMemory(int) int64                { return 0 }
func peakMemoryOf(*os.ProcessState) int64 { return 0 }
