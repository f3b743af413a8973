package compare

import (
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

// ownGroup keeps the terminal's Ctrl-C from a child, which is told to stop by its starter alone. Should that be killed,
// the system kills the child, provided that the thread that started it has lived as long: see Run.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// peakMemory returns the most memory that a process has had resident so far, in bytes, or 0. It has to be asked while the
// process lives: what the system tells afterwards (ru_maxrss) is at least what its starter had, as proc(5) does not say
// but fs/exec.c does.
func peakMemory(pid int) int64 {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(status) { // VmHWM:     5120 kB
		if fields := bytes.Fields(line); len(fields) == 3 && string(fields[0]) == "VmHWM:" {
			kib, _ := strconv.ParseInt(string(fields[1]), 10, 64)
			return kib << 10
		}
	}
	return 0
}

func peakMemoryOf(*os.ProcessState) int64 { return 0 }
