// Package ebpf looks at the traces of the eBPF instrumentation in a virtual machine: a real kernel,
// whatever the one of this machine allows. It needs three things that are not in this repository.
package ebpf

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/grafana-tempo-go-demo/e2e/ebpf/spec"
	"example.com/grafana-tempo-go-demo/e2e/internal/repo"
)

// bootTimeout is for a machine without KVM, which takes minutes.
const bootTimeout = 40 * time.Minute

// machine is what the tests need.
type machine struct{ qemu, kernel, obi string }

// findMachine skips a test where something is missing, and says what.
func findMachine(t *testing.T) machine {
	t.Helper()
	m := machine{qemu: os.Getenv("EBPF_QEMU"), kernel: os.Getenv("EBPF_KERNEL"), obi: os.Getenv("EBPF_OBI")}
	var missing []string
	if m.qemu == "" {
		if m.qemu, _ = exec.LookPath("qemu-system-x86_64"); m.qemu == "" {
			missing = append(missing, "EBPF_QEMU, or qemu-system-x86_64 (Debian's package qemu-system-x86)")
		}
	}
	if m.kernel == "" {
		missing = append(missing, "EBPF_KERNEL, a kernel of 5.8 or later with BTF (boot/vmlinuz-* of Debian's package linux-image-cloud-amd64, unpacked)")
	}
	if m.obi == "" {
		missing = append(missing, "EBPF_OBI, the program obi of a release of OpenTelemetry eBPF Instrumentation for linux-amd64")
	}
	if len(missing) > 0 {
		t.Skipf("no traces from a kernel; missing:\n  %s", strings.Join(missing, "\n  "))
	}
	return m
}

// boot starts the machine for a run and returns what its guest reports.
func (m machine) boot(t *testing.T, run spec.Run) []spec.Result {
	t.Helper()
	folder := t.TempDir()
	initramfs := filepath.Join(folder, "initramfs")
	m.pack(t, folder, initramfs, run)
	args := []string{
		"-m", "3G", "-smp", "1", "-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio", "-kernel", m.kernel, "-initrd", initramfs,
		"-append", "console=ttyS0 quiet panic=-1 rdinit=/init " + run.Kernel,
	}
	if os.Getenv("EBPF_KVM") != "" {
		args = append(args, "-accel", "kvm", "-cpu", "host")
	} else { // its clock counts instructions, so that nothing takes too long because this machine is busy
		args = append(args, "-accel", "tcg", "-icount", "shift=1,sleep=off", "-cpu", "max")
	}
	cmd := exec.CommandContext(t.Context(), m.qemu, args...)
	cmd.Stderr = os.Stderr
	console, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	tooLong := time.AfterFunc(bootTimeout, func() { cmd.Process.Kill() })
	defer tooLong.Stop()
	var results []spec.Result
	var said bytes.Buffer
	lines := bufio.NewScanner(console)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		line := strings.TrimSuffix(lines.Text(), "\r")
		if why, ok := strings.CutPrefix(line, spec.Failed); ok {
			t.Errorf("the guest gave up: %s", why)
		} else if data, ok := strings.CutPrefix(line, spec.Mark); !ok {
			fmt.Fprintln(&said, line)
		} else {
			var result spec.Result
			if err := json.Unmarshal([]byte(data), &result); err != nil {
				t.Errorf("%v: %s", err, data)
			}
			results = append(results, result)
		}
	}
	if err := cmd.Wait(); err != nil || t.Failed() || len(results) == 0 {
		t.Errorf("the machine ended with %v and %d results; its console:\n%s", err, len(results), &said)
	}
	return results
}

// pack builds all programs and writes them into an archive that the kernel takes as its first file
// system.
func (m machine) pack(t *testing.T, folder, initramfs string, run spec.Run) {
	t.Helper()
	args := []string{"build", "-trimpath", "-ldflags=-s -w", "-o", folder + "/", "./e2e/ebpf/guest"} // as the images are built
	for _, name := range repo.Services {
		args = append(args, "./"+name)
	}
	build := exec.Command("go", args...)
	build.Dir = repo.Root
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	specification, err := json.Marshal(run)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(initramfs)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	a := archive{w: bufio.NewWriter(file)}
	for _, dir := range []string{"bin", "dev", "etc", "opt", "opt/ebpf", "proc", "services", "sys", "tmp"} {
		a.add(dir, 0o040755, nil)
	}
	a.add("etc/hosts", 0o100644, []byte("127.0.0.1 localhost otlp\n"))
	a.add("service", 0o100755, nil) // for the guest to mount programs on
	a.add(strings.TrimPrefix(spec.File, "/"), 0o100644, specification)
	a.copy(t, "init", filepath.Join(folder, "guest"))
	for i, name := range repo.Services {
		if i < 2 { // in a container of its own: see the guest
			a.copy(t, "services/"+name, filepath.Join(folder, name))
			a.add("bin/"+name, 0o120777, []byte("/init"))
		} else {
			a.copy(t, "bin/"+name, filepath.Join(folder, name))
			a.add("services/"+name, 0o120777, []byte("/bin/"+name))
		}
	}
	a.copy(t, strings.TrimPrefix(spec.OBI, "/"), m.obi)
	a.add("TRAILER!!!", 0, nil)
	if err := a.w.Flush(); err != nil {
		t.Fatal(err)
	}
}

// archive writes the format newc of cpio: see buffer-format.rst of the kernel.
type archive struct {
	w     *bufio.Writer
	inode int
}

func (a *archive) add(name string, mode int, content []byte) {
	a.inode++
	fmt.Fprintf(a.w, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		a.inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name)+1, 0, name)
	a.pad(110 + len(name) + 1)
	a.w.Write(content)
	a.pad(len(content))
}

func (a *archive) pad(n int) { io.WriteString(a.w, "\x00\x00\x00"[:(4-n%4)%4]) }

func (a *archive) copy(t *testing.T, name, from string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	a.add(name, 0o100755, content)
}
