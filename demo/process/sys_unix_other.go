//go:build unix && !linux

package process

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// ownGroup puts a child into a process group of its own, out of reach of the terminal's Ctrl-C.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func peakMemory(int) int64 { return 0 }

// peakMemoryOf is the most memory that a process had resident before it ended, in bytes, or 0.
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
