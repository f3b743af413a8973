package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"

	"example.com/grafana-tempo-go-demo/demo/topology"
	"example.com/grafana-tempo-go-demo/e2e/internal/compose"
	"example.com/grafana-tempo-go-demo/e2e/internal/kubernetes"
	"example.com/grafana-tempo-go-demo/e2e/internal/repo"
)

// withEBPF runs a test for each way to start the demo with Docker, and for the one that makes an
// exception.
func withEBPF(t *testing.T, test func(t *testing.T, stack string)) {
	t.Helper()
	eachStack(t, test)
	t.Run(compose.EBPF, func(t *testing.T) { test(t, compose.EBPF) })
}

// TestTheKernelWatchesThePlainPairAlone: what is instrumented already would have each span twice.
func TestTheKernelWatchesThePlainPairAlone(t *testing.T) {
	plain, watched := compose.Project(t, nil), compose.Stack(t, compose.EBPF, nil)
	for name := range watched.Services {
		_, was := plain.Services[name]
		if _, watches := watchers[name]; was == watches {
			t.Errorf("%s: in docker-compose.yaml %t, watches %t", name, was, watches)
		}
	}
	entrypoint := []byte(`ENTRYPOINT ["/service"]`)
	for name, may := range watchers {
		service := watched.Services[name]
		target, _ := strings.CutPrefix(may.pid, "service:")
		if slices.Contains(instrumented, target) {
			t.Errorf("%s watches %s, which is instrumented", name, target)
		}
		// Both share a name, which OBI reads from the environment of what it watches.
		if got := compose.Variable(watched.Services[target], "OTEL_SERVICE_NAME"); got != target {
			t.Errorf("%s: its spans have the service name %q", target, got)
		}
		if got := compose.Variable(service, "OTEL_EBPF_AUTO_TARGET_EXE"); got != "/service" || !strings.Contains(string(repo.Read(t, target+"/Dockerfile")), string(entrypoint)) {
			t.Errorf("%s looks for %q, which is not what the image of %s starts", name, got, target)
		}
		// A restart ends the process namespace, and all who are in it.
		if on := service.DependsOn[target]; on.Condition != types.ServiceConditionHealthy || !on.Restart {
			t.Errorf("%s does not follow a restart of %s: %+v", name, target, on)
		}
		if service.DependsOn["tempo"].Condition != types.ServiceConditionHealthy {
			t.Errorf("%s sends spans before tempo can take them", name)
		}
	}
}

func TestSpansFromTheKernelArriveLikeTheOthers(t *testing.T) {
	watched := compose.Stack(t, compose.EBPF, nil)
	for name := range watchers {
		for variable, of := range map[string]string{
			"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT":  compose.Variable(watched.Services["uservice3"], "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
			"OTEL_EBPF_OTLP_TRACES_BATCH_TIMEOUT": compose.Variable(watched.Services["uservice3"], "OTEL_BSP_SCHEDULE_DELAY") + "ms",
			"OTEL_TRACES_SAMPLER":                 compose.Variable(watched.Services["uservice3"], "OTEL_TRACES_SAMPLER"),
		} {
			if got := compose.Variable(watched.Services[name], variable); got != of {
				t.Errorf("%s: %s=%s, want %s as uservice3 has it", name, variable, got, of)
			}
		}
	}
}

// TestTheKernelsTraceJoinsTheGateways: OBI reads traceparent alone.
func TestTheKernelsTraceJoinsTheGateways(t *testing.T) {
	for value, want := range map[string]string{"": "tracecontext,jaeger", "jaeger": "jaeger"} {
		project := compose.Stack(t, compose.EBPF, map[string]string{"EBPF_PROPAGATORS": value})
		if got := compose.Variable(project.Services["traefik"], "OTEL_PROPAGATORS"); got != want {
			t.Errorf("EBPF_PROPAGATORS=%s: Traefik has OTEL_PROPAGATORS=%s, want %s", value, got, want)
		}
		if got := compose.Variable(project.Services["uservice3"], "OTEL_PROPAGATORS"); got != "jaeger" {
			t.Errorf("EBPF_PROPAGATORS=%s: uservice3 has OTEL_PROPAGATORS=%s", value, got)
		}
	}
}

func TestOneVariableSwitchesTheKernelOffToo(t *testing.T) {
	off := compose.Stack(t, compose.EBPF, map[string]string{"TRACING": "false"})
	for name := range watchers {
		if got := compose.Variable(off.Services[name], "OTEL_EBPF_AUTO_TARGET_EXE"); got == "" || strings.ContainsAny(got, "*?[{") || got == "/service" {
			t.Errorf("%s watches %q with TRACING=false", name, got)
		}
	}
}

// TestWhoWatchesReachesTempoAlone: with such rights nobody should talk to the internet.
func TestWhoWatchesReachesTempoAlone(t *testing.T) {
	project := compose.Stack(t, compose.EBPF, nil)
	for name, service := range project.Services {
		_, watches := watchers[name]
		_, reached := service.Networks["ebpf"]
		_, usual := service.Networks["default"]
		if reached != (watches || name == "tempo") || usual == watches {
			t.Errorf("%s is in the networks %v", name, service.Networks)
		}
		if watches && len(service.Ports)+len(service.Volumes) > 0 {
			t.Errorf("%s has ports or volumes", name)
		}
	}
	if network := project.Networks["ebpf"]; !network.Internal || bool(network.External) || network.Driver != "" {
		t.Errorf("the network leads elsewhere: %+v", network)
	}
}

// TestKubernetesWatchesLikeCompose: deploy/kubernetes/ebpf adds to `small` what the override adds to
// docker-compose.yaml, and changes nothing else.
func TestKubernetesWatchesLikeCompose(t *testing.T) {
	small, watched := kubernetes.Build(t, "small"), kubernetes.Build(t, kubernetes.EBPF)
	project := compose.Stack(t, compose.EBPF, nil)
	for name, w := range watched.Workloads {
		environment, _ := watched.Environment(t, w)
		for variable := range project.Services[name].Environment {
			if want := compose.Variable(project.Services[name], variable); environment[variable] != want {
				t.Errorf("%s: %s=%s, with compose %s", name, variable, environment[variable], want)
			}
		}
		container := w.Container()
		container.Env = small.Workloads[name].Container().Env
		if !reflect.DeepEqual(container, small.Workloads[name].Container()) {
			t.Errorf("the container of %s is not that of small", name)
		}
		if name != topology.Uservice1 && name != topology.Uservice2 && len(w.Template.Spec.Containers) > 1 {
			t.Errorf("%s is watched, too", name)
		}
	}
	for name, may := range watchers {
		target, _ := strings.CutPrefix(may.pid, "service:")
		pod := watched.Workloads[target].Template
		if len(pod.Spec.Containers) != 2 || pod.Labels["sends"] != "spans" {
			t.Fatalf("nobody watches %s, or may send what it sees: %v", target, pod.Labels)
		}
		watcher, service := pod.Spec.Containers[1], project.Services[name]
		rights := watcher.SecurityContext
		if shared := pod.Spec.ShareProcessNamespace; shared == nil || !*shared || watcher.Image != service.Image ||
			!*rights.ReadOnlyRootFilesystem || fmt.Sprint(rights.Capabilities.Drop) != fmt.Sprint(service.CapDrop) ||
			fmt.Sprint(rights.Capabilities.Add) != fmt.Sprint(service.CapAdd) ||
			watcher.Resources.Limits.Memory().Value() != int64(service.MemLimit) {
			t.Errorf("the container is %+v, with compose it is %+v", watcher, service)
		}
		env := map[string]string{}
		for _, variable := range watcher.Env {
			env[variable.Name] = variable.Value
		}
		for variable := range service.Environment {
			want := compose.Variable(service, variable)
			if variable != "OTEL_PROPAGATORS" && variable != "OTEL_TRACES_EXPORTER" && env[variable] != want { // OBI reads neither
				t.Errorf("%s=%s, with compose %s", variable, env[variable], want)
			}
		}
	}
}
