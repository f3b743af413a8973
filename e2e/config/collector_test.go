package config

import (
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"example.com/grafana-tempo-go-demo/e2e/internal/compose"
	"example.com/grafana-tempo-go-demo/e2e/internal/repo"
)

// TestCollectorsUseWhatTheyDefine: the collector ignores what no pipeline uses, and so hides a
// forgotten processor. It checks the rest itself; its packages are too heavy to import.
func TestCollectorsUseWhatTheyDefine(t *testing.T) {
	for _, name := range []string{"collector.yaml", "balancer.yaml"} {
		var conf struct {
			Receivers, Processors, Exporters, Connectors, Extensions map[string]any
			Service                                                  struct {
				Extensions []string
				Pipelines  map[string]struct{ Receivers, Processors, Exporters []string }
			}
		}
		if err := yaml.Unmarshal(repo.Read(t, "conf/collector/"+name), &conf); err != nil {
			t.Fatal(err)
		}
		used := slices.Clone(conf.Service.Extensions)
		for pipeline, parts := range conf.Service.Pipelines {
			used = slices.Concat(used, parts.Receivers, parts.Processors, parts.Exporters)
			if !strings.HasPrefix(pipeline, "traces") {
				continue
			}
			if len(parts.Processors) == 0 || parts.Processors[0] != "memory_limiter" {
				t.Errorf("%s: %s takes spans before it knows whether there is memory for them", name, pipeline)
			}
			// What counts spans must see all of them.
			if counts := slices.Contains(parts.Exporters, "span_metrics"); counts && slices.Contains(parts.Processors, "tail_sampling") {
				t.Errorf("%s: %s counts spans when some are dropped", name, pipeline)
			}
		}
		for _, defined := range []map[string]any{conf.Receivers, conf.Processors, conf.Exporters, conf.Connectors, conf.Extensions} {
			for part := range defined {
				if !slices.Contains(used, part) {
					t.Errorf("%s: %s is defined and not used", name, part)
				}
			}
		}
	}
}

// TestOnlyOneCounts: Tempo makes no span metrics where the collector does, or each span would be
// counted twice.
func TestOnlyOneCounts(t *testing.T) {
	const tenant = "conf/collector/tempo-overrides.yaml"
	for file, path := range map[string]string{
		"conf/scale/tempo.yaml": "overrides.defaults.metrics_generator.processors",
		tenant:                  "overrides.single-tenant.metrics_generator.processors",
	} {
		if got := leaves(t, file)[path]; got != "[service-graphs]" {
			t.Errorf("%s: Tempo's processors are %s", file, got)
		}
	}
	// Tempo gives a tenant with overrides none of the defaults: without a limit it may write nothing.
	for _, limit := range []string{"ingestion.rate_limit_bytes", "ingestion.burst_size_bytes", "global.max_bytes_per_trace"} {
		if got := leaves(t, tenant)["overrides.single-tenant."+limit]; got == "" || got == "0" {
			t.Errorf("%s: %s is %q", tenant, limit, got)
		}
	}
	command := compose.Stack(t, "collector", nil).Services["tempo"].Command
	if !slices.Contains(command, "-config.per-user-override-config=/etc/tempo-overrides.yaml") {
		t.Errorf("Tempo is started with %v", command)
	}
}
