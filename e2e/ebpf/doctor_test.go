package ebpf

import (
	"testing"

	"example.com/grafana-tempo-go-demo/e2e/ebpf/spec"
)

// TestTheDoctorInARealKernel breaks the eBPF instrumentation in one way each. What the doctor says of
// what a virtual machine cannot show is in demo/doctor.
func TestTheDoctorInARealKernel(t *testing.T) {
	m := findMachine(t)
	const both = "tracecontext,jaeger"
	weak := containers(t, nil)
	weak[1].Rights = []string{"SYS_PTRACE", "DAC_READ_SEARCH"}
	runs := []spec.Run{
		{Name: "without Docker"},
		{Name: "as with Docker", Propagators: both, Containers: containers(t, nil)},
		{Name: "the gateway speaks Jaeger's header alone", Propagators: "jaeger", Containers: containers(t, nil)},
		{Name: "SYS_ADMIN taken away", Propagators: both, Containers: weak},
		{Name: "another program", Propagators: both, Containers: containers(t, map[string]string{"OTEL_EBPF_AUTO_TARGET_EXE": "/another"})},
		{Name: "the exporter's port closed", Propagators: both, Containers: containers(t, map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://otlp:1"})},
		{Name: "no BTF", Propagators: both, Containers: containers(t, nil), Hide: "/sys/kernel/btf"},
		{Name: "a kernel that is locked down", Propagators: both, Containers: containers(t, nil), Kernel: "lockdown=integrity"},
		{Name: "uservice2 ended", Propagators: both, Containers: containers(t, nil), Kill: "uservice2"},
	}
	want := map[string]string{
		"the gateway speaks Jaeger's header alone": "joined trace", "SYS_ADMIN taken away": "ebpf rights", "another program": "probes",
		"the exporter's port closed": "ebpf spans", "no BTF": "kernel", "a kernel that is locked down": "joined trace", "uservice2 ended": "ebpf rights",
	}
	for _, run := range runs {
		t.Run(run.Name, func(t *testing.T) {
			run.Doctor = true
			for _, result := range m.boot(t, run) {
				t.Logf("%s\nOBI's logs: %v", result.Doctor, result.Log)
				if result.FirstBroken != want[run.Name] {
					t.Errorf("the first broken link is %q, want %q", result.FirstBroken, want[run.Name])
				}
			}
		})
	}
}
