//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"example.com/grafana-tempo-go-demo/e2e/ebpf/spec"
)

// contained is what the guest does under one of its other names: it begins again in namespaces of
// its own, and there becomes the program.
func contained(name string) error {
	if inside, ok := strings.CutPrefix(name, "inside-"); ok {
		return become(inside)
	}
	attributes := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	runtime.LockOSThread() // the parent of what it starts
	if pid := os.Getenv("SHARE_PID"); pid != "" {
		fd, err := unix.Open("/proc/"+pid+"/ns/pid", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		if err := unix.Setns(fd, unix.CLONE_NEWPID); err != nil {
			return fmt.Errorf("join the process namespace of %s: %w", pid, err)
		}
	} else {
		attributes.Cloneflags |= unix.CLONE_NEWPID
	}
	cmd := &exec.Cmd{
		Path: "/init", Args: append([]string{"inside-" + name}, os.Args[1:]...),
		Stdout: os.Stdout, Stderr: os.Stderr, SysProcAttr: attributes,
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() {
		<-stop
		_ = cmd.Process.Signal(syscall.SIGTERM)
	}()
	return cmd.Wait()
}

// become makes the file system of a container, gives up rights, and starts the program. The kernel's
// files are read-only there, as Docker has them.
func become(name string) error {
	if err := errors.Join(
		unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""),
		unix.Mount("proc", "/proc", "proc", 0, ""),
		unix.Mount("", "/sys", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""),
	); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	program := "/service"
	if rights, ok := os.LookupEnv("RIGHTS"); ok {
		program = spec.OBI
		if err := giveUpAllBut(strings.Fields(rights)); err != nil {
			return err
		}
	} else if err := unix.Mount("/services/"+name, program, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount the program: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	var own map[string]string
	data, err := os.ReadFile("/services/" + name + ".env")
	if err == nil {
		err = json.Unmarshal(data, &own)
	}
	if err != nil {
		return err
	}
	env := os.Environ()
	for key, value := range own {
		env = append(env, key+"="+value)
	}
	if program == "/service" {
		if err := errors.Join(unix.Setgid(65532), unix.Setuid(65532)); err != nil {
			return err
		}
	}
	return unix.Exec(program, append([]string{program}, os.Args[1:]...), env)
}

// capabilities are those that a container of this demo has, and all others by number.
var capabilities = map[string]uintptr{
	"DAC_READ_SEARCH": unix.CAP_DAC_READ_SEARCH, "SYS_PTRACE": unix.CAP_SYS_PTRACE, "SYS_ADMIN": unix.CAP_SYS_ADMIN,
}

// giveUpAllBut takes rights out of what the next program can have.
func giveUpAllBut(rights []string) error {
	keep := map[uintptr]bool{}
	for _, right := range rights {
		number, ok := capabilities[right]
		if !ok {
			return fmt.Errorf("the guest knows no capability %s", right)
		}
		keep[number] = true
	}
	for number := range uintptr(unix.CAP_LAST_CAP + 1) {
		if keep[number] {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, number, 0, 0, 0); err != nil {
			return fmt.Errorf("give up capability %d: %w", number, err)
		}
	}
	return nil
}

// processOf finds the service in the process namespace that a wrapper of the guest has made.
func processOf(service string) (pid string, err error) {
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	for _, link := range links {
		pid = filepath.Base(filepath.Dir(link))
		env, _ := os.ReadFile("/proc/" + pid + "/environ")
		if program, _ := os.Readlink(link); program == "/service" || program == "/services/"+service {
			if strings.Contains(string(env), "OTEL_SERVICE_NAME="+service+"\x00") {
				return pid, nil
			}
		}
	}
	return "", errors.Join(err, fmt.Errorf("%s does not run", service))
}
