package config

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v3"

	"example.com/grafana-tempo-go-demo/demo/services"
	"example.com/grafana-tempo-go-demo/e2e/internal/compose"
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

func TestBothWaysOfRunningTheDemoWatchAlike(t *testing.T) {
	project := compose.Stack(t, compose.EBPF, nil)
	for name := range watchers {
		for key, want := range services.EBPF() {
			if got := compose.Variable(project.Services[name], key); got != want {
				t.Errorf("%s: %s=%s with compose, %s without", name, key, got, want)
			}
		}
	}
}

// TestKubernetesWatchesLikeCompose compares the container that deploy/kubernetes/ebpf adds to a pod.
func TestKubernetesWatchesLikeCompose(t *testing.T) {
	var pod struct {
		Spec struct {
			Template struct {
				Spec struct {
					ShareProcessNamespace bool `yaml:"shareProcessNamespace"`
					Containers            []struct {
						Image     string
						Env       []struct{ Name, Value string }
						Resources struct {
							Limits struct{ Memory string }
						}
						SecurityContext struct {
							ReadOnlyRootFilesystem bool `yaml:"readOnlyRootFilesystem"`
							Capabilities           struct{ Drop, Add []string }
						} `yaml:"securityContext"`
					}
				}
			}
		}
	}
	if err := yaml.Unmarshal(repo.Read(t, "deploy/kubernetes/ebpf/obi.yaml"), &pod); err != nil {
		t.Fatal(err)
	}
	service, got := compose.Stack(t, compose.EBPF, nil).Services["obi1"], pod.Spec.Template.Spec.Containers[0]
	rights := got.SecurityContext
	if !pod.Spec.Template.Spec.ShareProcessNamespace || got.Image != service.Image || !rights.ReadOnlyRootFilesystem ||
		!slices.Equal(rights.Capabilities.Drop, service.CapDrop) || !slices.Equal(rights.Capabilities.Add, service.CapAdd) ||
		got.Resources.Limits.Memory != fmt.Sprintf("%dMi", service.MemLimit>>20) {
		t.Errorf("the container is %+v, with compose it is %+v", got, service)
	}
	env := map[string]string{}
	for _, variable := range got.Env {
		env[variable.Name] = variable.Value
	}
	for name := range service.Environment {
		want := compose.Variable(service, name)
		if name != "OTEL_PROPAGATORS" && name != "OTEL_TRACES_EXPORTER" && env[name] != want { // OBI reads neither
			t.Errorf("%s=%s, with compose %s", name, env[name], want)
		}
	}
}
