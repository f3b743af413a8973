// Package config judges docker-compose.yaml, deploy/ and conf/ without starting anything.
package config

import (
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"

	"example.com/grafana-tempo-go-demo/demo/services"
	"example.com/grafana-tempo-go-demo/demo/topology"
	"example.com/grafana-tempo-go-demo/e2e/internal/compose"
	"example.com/grafana-tempo-go-demo/e2e/internal/repo"
)

// instrumented are the services that send traces, log lines and metrics of their own.
var instrumented = []string{"uservice3", "uservice4", "prober"}

// eachStack runs a test for each way to start the demo with Docker.
func eachStack(t *testing.T, test func(t *testing.T, stack string)) {
	t.Helper()
	for _, stack := range compose.Stacks {
		t.Run(stack, func(t *testing.T) { test(t, stack) })
	}
}

// withEBPF runs a test for those too in which the kernel watches.
func withEBPF(t *testing.T, test func(t *testing.T, stack string)) {
	t.Helper()
	eachStack(t, test)
	for _, stack := range compose.Watched {
		t.Run(stack, func(t *testing.T) { test(t, stack) })
	}
}

// publishedPort matches a published port: its variable and its default.
var publishedPort = regexp.MustCompile(`"127\.0\.0\.1:\$\{([A-Z0-9_]+_PORT):-(\d+)\}:\d+"`)

// moved returns a stack with every port changed, which shows what still names a default, the ports by
// their variables, and the defaults.
func moved(t *testing.T, stack string) (project *types.Project, ports map[string]string, defaults []string) {
	t.Helper()
	ports = map[string]string{}
	for _, file := range compose.Files(stack) {
		for _, found := range publishedPort.FindAllStringSubmatch(string(repo.Read(t, file)), -1) {
			ports[found[1]] = strconv.Itoa(50001 + len(ports))
			defaults = append(defaults, found[2])
		}
	}
	return compose.Stack(t, stack, ports), ports, defaults
}

func TestEveryPortIsOnLoopbackAndFollowsItsVariable(t *testing.T) {
	withEBPF(t, func(t *testing.T, stack string) {
		usual := compose.Stack(t, stack, nil)
		other, _, _ := moved(t, stack)
		for name, service := range usual.Services {
			for i, port := range service.Ports {
				if port.HostIP != "127.0.0.1" || port.Mode != "ingress" && port.Mode != "" {
					t.Errorf("%s publishes %d on %q", name, port.Target, port.HostIP)
				}
				if port.Target < 1024 {
					t.Errorf("%s listens on %d, which takes root's rights in some engines", name, port.Target)
				}
				if other.Services[name].Ports[i].Published == port.Published {
					t.Errorf("%s: port %s has no variable", name, port.Published)
				}
			}
		}
	})
}

// TestNoDefaultPortRemains finds links with a fixed default port, and what the dashboards' links to the
// services are made from.
func TestNoDefaultPortRemains(t *testing.T) {
	eachStack(t, func(t *testing.T, stack string) {
		project, _, defaults := moved(t, stack)
		port := strings.Join(defaults, "|")
		fixed := regexp.MustCompile(`//(localhost|127\.0\.0\.1)(:(` + port + `)\b|/|$)|proxy\.port=80$`)
		for name, service := range project.Services {
			texts := slices.Clone([]string(service.Command))
			for key := range service.Environment {
				texts = append(texts, key+"="+compose.Variable(service, key))
			}
			for _, text := range texts {
				if fixed.MatchString(text) {
					t.Errorf("%s: %s does not follow its variable", name, text)
				}
			}
		}
	})
}

func TestTraceLinkOpensTheTraceInGrafana(t *testing.T) {
	project, ports, _ := moved(t, "plain")
	const id = "0123456789abcdef0123456789abcdef"
	resolve := newResolver(t)
	for _, name := range []string{"uservice3", "uservice4"} {
		pattern := compose.Variable(project.Services[name], "TRACE_LINK")
		link := strings.Replace(pattern, "{trace_id}", id, 1)
		u, err := url.Parse(link)
		if err != nil || u.Host != "localhost:"+ports["GRAFANA_PORT"] || strings.ContainsAny(pattern, " \"\n") {
			t.Errorf("%s: TRACE_LINK=%s is no address of Grafana: %v", name, pattern, err)
			continue
		}
		resolve(t, name, u.RequestURI())
	}
}

func TestNothingIsReadyBeforeWhatItNeeds(t *testing.T) {
	eachStack(t, func(t *testing.T, stack string) {
		for name, service := range compose.Stack(t, stack, nil).Services {
			// Compose refuses start_interval on Podman and on engines before Docker 25; a start_period
			// alone slows newer ones.
			if check := service.HealthCheck; check == nil || check.StartInterval != nil || check.StartPeriod != nil {
				t.Errorf("%s has no health check, or one with a start_interval or a start_period", name)
			}
		}
	})
	project := compose.Project(t, nil)
	// Traefik starts last: as soon as it answers, requests are traced completely.
	for _, on := range append([]string{"tempo"}, repo.Services...) {
		if !waitsFor(project, "traefik", on) {
			t.Errorf("traefik does not wait until %s is healthy", on)
		}
	}
	// Compose stops in the opposite order: who calls another must stop before it, or requests in flight
	// fail and the last log lines are lost.
	address := regexp.MustCompile(`^http://([a-z0-9-]+):`)
	for name, service := range project.Services {
		for variable := range service.Environment {
			found := address.FindStringSubmatch(compose.Variable(service, variable))
			if found == nil || project.Services[found[1]].Name == "" {
				continue
			}
			if _, ok := service.DependsOn[found[1]]; !ok {
				t.Errorf("%s may outlive %s, which it calls (%s)", name, found[1], variable)
			}
		}
	}
}

// waitsFor reports whether a service starts only when another is healthy, which it may learn from a
// third.
func waitsFor(project *types.Project, name, other string) bool {
	for on, dependency := range project.Services[name].DependsOn {
		if dependency.Condition == types.ServiceConditionHealthy && (on == other || waitsFor(project, on, other)) {
			return true
		}
	}
	return false
}

// TestOneVariableTurnsTracingOff without a build: with TRACING=false the variables of the file that it
// chooses differ, and Traefik's flag; the kernel watches a program that does not exist.
func TestOneVariableTurnsTracingOff(t *testing.T) {
	withEBPF(t, func(t *testing.T, stack string) {
		on, off := compose.Stack(t, stack, nil), compose.Stack(t, stack, map[string]string{"TRACING": "false"})
		for name, service := range on.Services {
			without := off.Services[name]
			for key := range service.Environment {
				switch was, is := compose.Variable(service, key), compose.Variable(without, key); key {
				case "OTEL_TRACES_EXPORTER", "OTEL_TRACES_SAMPLER", "OTEL_PROPAGATORS", "OTEL_EBPF_AUTO_TARGET_EXE":
					if usual := service.EnvFiles != nil && name != "traefik"; usual && was == is {
						t.Errorf("%s: %s is still %s", name, key, is)
					}
				default:
					if was != is {
						t.Errorf("%s: %s is %s instead of %s", name, key, is, was)
					}
				}
			}
		}
		if command := off.Services["traefik"].Command; !slices.Contains(command, "--tracing=false") {
			t.Errorf("Traefik is started with %v", command)
		}
	})
}

func TestBothWaysOfRunningTheDemoHaveTheSameServices(t *testing.T) {
	project := compose.Project(t, nil)
	// The runner sets what depends on addresses or on the container.
	elsewhere := []string{
		"UPSTREAM", "TRACE_LINK", "LOG_LEVEL", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
		"OTEL_EXPORTER_PROMETHEUS_HOST", "OTEL_EXPORTER_PROMETHEUS_PORT", "OTEL_RESOURCE_ATTRIBUTES",
	}
	for _, row := range topology.Services() {
		service, err := project.GetService(row.Name)
		if err != nil {
			t.Error(err)
			continue
		}
		env := map[string]string{}
		for name := range service.Environment {
			if !slices.Contains(elsewhere, name) {
				env[name] = compose.Variable(service, name)
			}
		}
		if want := services.Environment(row); !maps.Equal(env, want) {
			t.Errorf("%s: the environment is %v with compose, %v without", row.Name, env, want)
		}
		if traced := compose.Variable(service, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""; traced != row.Instrumented {
			t.Errorf("%s: instrumented is %t with compose, %t without", row.Name, traced, row.Instrumented)
		}
		if measured := compose.Variable(service, "OTEL_METRICS_EXPORTER") != ""; measured != (row.Metrics != "") {
			t.Errorf("%s: has metrics is %t with compose; without, they are on %q", row.Name, measured, row.Metrics)
		}
		upstream := ""
		if u, err := url.Parse(compose.Variable(service, "UPSTREAM")); err == nil {
			upstream = u.Hostname()
		}
		if upstream != row.Upstream {
			t.Errorf("%s: the upstream is %q with compose, %q without", row.Name, upstream, row.Upstream)
		}
		if port := service.Ports[0].Published; net.JoinHostPort("127.0.0.1", port) != row.Addr {
			t.Errorf("%s: listens on %s with compose, %s without", row.Name, port, row.Addr)
		}
	}
}
