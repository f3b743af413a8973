package process

import (
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

// ownGroup puts a child into a process group of its own, out of reach of the terminal's Ctrl-C. If
// this process is killed, the system kills the child, because nobody else would: see Starter.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// peakMemory is the most memory that a process has had resident so far, in bytes, or 0. Ask while the
// process lives: ru_maxrss, which is left afterwards, starts with what the parent had (fs/exec.c in
// the kernel).
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
