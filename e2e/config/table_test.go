package config

import (
	"maps"
	"net"
	"net/url"
	"slices"
	"testing"

	"example.com/grafana-tempo-go-demo/demo/services"
	"example.com/grafana-tempo-go-demo/demo/topology"
	"example.com/grafana-tempo-go-demo/e2e/internal/compose"
	"example.com/grafana-tempo-go-demo/e2e/internal/repo"
)

func TestBothWaysOfRunningTheDemoHaveTheSameServices(t *testing.T) {
	project := compose.Project(t, nil)
	// The runner sets what depends on addresses or on the container.
	elsewhere := []string{
		"UPSTREAM", "TRACE_LINK", "LOG_LEVEL", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
		"OTEL_EXPORTER_PROMETHEUS_HOST", "OTEL_EXPORTER_PROMETHEUS_PORT", "OTEL_RESOURCE_ATTRIBUTES",
	}
	var names []string
	for _, row := range topology.Services() {
		names = append(names, row.Name)
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
	slices.Sort(names)
	if !slices.Equal(names, repo.Services) {
		t.Errorf("the table has %v, want %v", names, repo.Services)
	}
}
