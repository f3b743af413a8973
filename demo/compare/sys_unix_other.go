//go:build unix && !linux

package compare

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// ownGroup keeps the terminal's Ctrl-C from a child, which is told to stop by its starter alone.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func peakMemory(int) int64 { return 0 }

// peakMemoryOf returns the most memory that a process that has ended had resident, in bytes, or 0.
func peakMemoryOf(state *os.ProcessState) int64 {
	usage, ok := state.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	if runtime.GOOS == "darwin" || runtime.GOOS == "ios" { // getrusage(2): bytes there, KiB elsewhere
		return int64(usage.Maxrss)
	}
	return int64(usage.Maxrss) << 10
}
