package stack

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"example.com/grafana-tempo-go-demo/demo/process"
	"example.com/grafana-tempo-go-demo/demo/services"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// ebpfPart is what the log lines of the eBPF instrumentation begin with.
const ebpfPart = "ebpf"

// checkEBPF says why OBI cannot watch the plain pair here, before anything is built.
func checkEBPF(program string) error {
	_, err := exec.LookPath(program)
	switch {
	case program == "":
		return nil
	case runtime.GOOS != "linux":
		return errors.New("-ebpf needs Linux: a kernel watches the programs that run on it, and this one is of " + runtime.GOOS)
	case os.Geteuid() != 0:
		return errors.New("-ebpf needs root's rights, to put probes into running programs: start the demo with sudo")
	case err != nil:
		return fmt.Errorf("-ebpf=%s: %w: give the program obi, of a release of OpenTelemetry eBPF Instrumentation", program, err)
	}
	return nil
}

// startEBPF lets OBI watch the services that are not instrumented. It does not wait until that has
// found them, which takes some seconds: the first requests have no spans.
func (s *Stack) startEBPF() error {
	if s.o.EBPF == "" {
		return nil
	}
	env := services.EBPF()
	// By the whole path, so that no other program of this machine is watched.
	env["OTEL_EBPF_AUTO_TARGET_EXE"] = filepath.Join(s.o.Bin, "{"+topology.Uservice1+","+topology.Uservice2+"}")
	env["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = s.url(topology.OTLPGRPC).String()
	line := func(line []byte) { s.output.line(ebpfPart, line) }
	p, err := process.Start(process.Options{
		Name: ebpfPart, Path: s.o.EBPF, Env: services.Merge(os.Environ(), env), Stdout: line, Stderr: line,
	})
	if err != nil {
		return err
	}
	s.ebpf = p
	s.watch(p)
	return nil
}
