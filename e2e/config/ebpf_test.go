package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"

	"example.com/grafana-tempo-go-demo/e2e/internal/compose"
	"example.com/grafana-tempo-go-demo/e2e/internal/kubernetes"
	"example.com/grafana-tempo-go-demo/e2e/internal/repo"
)

// TestTheKernelWatchesThePlainPairAlone: what is instrumented already would have each span twice.
func TestTheKernelWatchesThePlainPairAlone(t *testing.T) {
	watched := compose.Stack(t, "ebpf", nil)
	for name, target := range watchers {
		service := watched.Services[name]
		// Both share a name, which OBI reads from the environment of what it watches.
		got := compose.Variable(watched.Services[target], "OTEL_SERVICE_NAME")
		if got != target || slices.Contains(instrumented, target) {
			t.Errorf("%s watches %s, whose spans have the service name %q", name, target, got)
		}
		starts := fmt.Sprintf("ENTRYPOINT [%q]", compose.Variable(service, "OTEL_EBPF_AUTO_TARGET_EXE"))
		if !strings.Contains(string(repo.Read(t, target+"/Dockerfile")), starts) {
			t.Errorf("%s looks for another program than the image of %s starts: %s", name, target, starts)
		}
		// A restart ends the process namespace, and all who are in it.
		if on := service.DependsOn[target]; on.Condition != types.ServiceConditionHealthy || !on.Restart {
			t.Errorf("%s does not follow a restart of %s: %+v", name, target, on)
		}
	}
}

// TestKubernetesWatchesLikeCompose: deploy/kubernetes/ebpf adds to `small` what the override adds to
// docker-compose.yaml, and changes nothing else.
func TestKubernetesWatchesLikeCompose(t *testing.T) {
	small, watched := kubernetes.Build(t, "small"), kubernetes.Build(t, kubernetes.EBPF)
	project := compose.Stack(t, "ebpf", nil)
	pods := map[string]types.ServiceConfig{}
	for name, target := range watchers {
		pods[target] = project.Services[name]
	}
	for name, w := range watched.Workloads {
		environment := watched.Environment(t, w)
		sameVariables(t, name, environment, project.Services[name])
		container := w.Container()
		container.Env = small.Workloads[name].Container().Env
		if !reflect.DeepEqual(container, small.Workloads[name].Container()) {
			t.Errorf("the container of %s is not that of small", name)
		}
		service, watches := pods[name]
		pod := w.Template
		if (len(pod.Spec.Containers) == 2) != watches {
			t.Fatalf("%s has %d containers", name, len(pod.Spec.Containers))
		}
		if !watches {
			continue
		}
		watcher := pod.Spec.Containers[1]
		rights := watcher.SecurityContext
		if !*pod.Spec.ShareProcessNamespace || pod.Labels["sends"] != "spans" || watcher.Image != service.Image ||
			!*rights.ReadOnlyRootFilesystem || fmt.Sprint(rights.Capabilities.Drop) != fmt.Sprint(service.CapDrop) ||
			fmt.Sprint(rights.Capabilities.Add) != fmt.Sprint(service.CapAdd) ||
			watcher.Resources.Limits.Memory().Value() != int64(service.MemLimit) {
			t.Errorf("the container is %+v, with compose it is %+v", watcher, service)
		}
		// Compose has them in the file that says what to watch, and OBI reads neither.
		env := map[string]string{"OTEL_PROPAGATORS": "jaeger", "OTEL_TRACES_EXPORTER": "otlp"}
		for _, variable := range watcher.Env {
			env[variable.Name] = variable.Value
		}
		sameVariables(t, service.Name, env, service)
	}
}

// sameVariables compares the variables of a container with those that compose gives it.
func sameVariables(t *testing.T, name string, environment map[string]string, service types.ServiceConfig) {
	t.Helper()
	for variable := range service.Environment {
		if got, want := environment[variable], compose.Variable(service, variable); got != want {
			t.Errorf("%s: %s=%s, with compose %s", name, variable, got, want)
		}
	}
	for variable, value := range environment {
		if _, ok := service.Environment[variable]; !ok {
			t.Errorf("%s: %s=%s, with compose it is not set", name, variable, value)
		}
	}
}
