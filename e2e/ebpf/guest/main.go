//go:build linux

// Command guest is the first process of the virtual machine in which the tests of e2e/ebpf look at
// real traces from a real kernel. It runs the demo, and beside it OBI as deploy/compose/ebpf.yaml
// says, asks for what the specification lists, and writes what came of it to the console.
//
// It has several names: as uservice1 and uservice2 it starts the service of that name in a process
// namespace and a file system of its own, as a container would.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"

	"example.com/grafana-tempo-go-demo/e2e/ebpf/spec"
)

func main() {
	log.SetFlags(0)
	if os.Getpid() == 1 && filepath.Base(os.Args[0]) == "init" {
		if err := boot(); err != nil {
			fmt.Printf("\n%s%v\n", spec.Failed, err)
		}
		unix.Sync()
		_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	}
	if err := contained(filepath.Base(os.Args[0])); err != nil {
		log.Fatal(err)
	}
}

// boot makes what is left to the first process of a system, and runs the tests' requests.
func boot() error {
	for target, kind := range map[string]string{"/proc": "proc", "/sys": "sysfs", "/dev": "devtmpfs", "/tmp": "tmpfs"} {
		_ = os.MkdirAll(target, 0o755)
		if err := unix.Mount(kind, target, kind, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", target, err)
		}
	}
	if err := unix.Mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, ""); err != nil {
		return fmt.Errorf("mount control groups: %w", err)
	}
	if err := os.WriteFile("/sys/fs/cgroup/cgroup.subtree_control", []byte("+memory"), 0); err != nil {
		return err
	}
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("switch the loopback interface on: %w", err)
	}
	var run spec.Run
	data, err := os.ReadFile(spec.File)
	if err == nil {
		err = json.Unmarshal(data, &run)
	}
	if err != nil {
		return err
	}
	return perform(run)
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var request struct {
		name  [unix.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}
	copy(request.name[:], "lo")
	request.flags = unix.IFF_UP | uint16(net.FlagRunning)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return errno
	}
	return nil
}

// report writes one result as a line of its own.
func report(result spec.Result) {
	line, err := json.Marshal(result)
	if err != nil {
		line = []byte(err.Error())
	}
	fmt.Printf("\n%s%s\n", spec.Mark, line)
}
