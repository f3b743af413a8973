package config

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"example.com/grafana-tempo-go-demo/e2e/internal/compose"
	"example.com/grafana-tempo-go-demo/e2e/internal/repo"
)

// collectorConf is the part of a collector's configuration that these tests judge. The collector
// itself checks the whole; its packages are too heavy to import.
type collectorConf struct {
	Receivers  map[string]any
	Processors map[string]any
	Exporters  map[string]any
	Connectors map[string]any
	Extensions map[string]any
	Service    struct {
		Extensions []string
		Pipelines  map[string]struct{ Receivers, Processors, Exporters []string }
	}
}

func collectorConfig(t *testing.T, name string) (conf collectorConf) {
	t.Helper()
	if err := yaml.Unmarshal(repo.Read(t, "conf/collector/"+name), &conf); err != nil {
		t.Fatal(err)
	}
	return conf
}

// TestCollectorsUseWhatTheyDefine: the collector ignores what no pipeline uses, and so hides a
// forgotten processor.
func TestCollectorsUseWhatTheyDefine(t *testing.T) {
	for _, name := range []string{"collector.yaml", "balancer.yaml"} {
		conf := collectorConfig(t, name)
		used := slices.Clone(conf.Service.Extensions)
		for pipeline, parts := range conf.Service.Pipelines {
			used = slices.Concat(used, parts.Receivers, parts.Processors, parts.Exporters)
			if strings.HasPrefix(pipeline, "traces") && (len(parts.Processors) == 0 || parts.Processors[0] != "memory_limiter") {
				t.Errorf("%s: %s takes spans before it knows whether there is memory for them", name, pipeline)
			}
			if strings.HasPrefix(pipeline, "traces") && !slices.Equal(parts.Receivers, []string{"otlp", "jaeger"}) {
				t.Errorf("%s: %s takes spans from %v", name, pipeline, parts.Receivers)
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

// TestSpansAreCountedBeforeAnyIsDropped, and what must be kept is.
func TestSpansAreCountedBeforeAnyIsDropped(t *testing.T) {
	pipelines := collectorConfig(t, "collector.yaml").Service.Pipelines
	if all := pipelines["traces/all"]; !slices.Equal(all.Processors, []string{"memory_limiter"}) || !slices.Equal(all.Exporters, []string{"span_metrics"}) {
		t.Errorf("spans are counted by %+v", all)
	}
	var conf struct {
		Processors struct {
			TailSampling struct {
				Policies []map[string]any
			} `yaml:"tail_sampling"`
		}
	}
	if err := yaml.Unmarshal(repo.Read(t, "conf/collector/collector.yaml"), &conf); err != nil {
		t.Fatal(err)
	}
	policies := map[string]any{}
	for _, policy := range conf.Processors.TailSampling.Policies {
		policies[policy["type"].(string)] = policy[policy["type"].(string)]
	}
	if got := slices.Sorted(maps.Keys(policies)); !slices.Equal(got, []string{"latency", "probabilistic", "status_code", "string_attribute"}) {
		t.Errorf("the policies are %v", got)
	}
	for stack, tempo := range map[string]string{"collector": "tempo:4317", "scale": "distributor:4317"} {
		for share, want := range map[string]string{"": "100", "7": "7"} {
			service := compose.Stack(t, stack, map[string]string{"TRACES_SHARE": share}).Services["collector"]
			if got := compose.Variable(service, "TRACES_SHARE"); got != want {
				t.Errorf("%s: TRACES_SHARE=%s, want %s", stack, got, want)
			}
			if got := compose.Variable(service, "TEMPO_OTLP"); got != tempo {
				t.Errorf("%s: what is kept goes to %s, want %s", stack, got, tempo)
			}
		}
	}
}

// TestOnlyOneCounts: Tempo makes no span metrics where the collector does, or each span would be
// counted twice.
func TestOnlyOneCounts(t *testing.T) {
	for _, file := range []string{"conf/scale/tempo.yaml", "conf/collector/tempo-overrides.yaml"} {
		for path, value := range leaves(t, file) {
			if strings.HasSuffix(path, "metrics_generator.processors") && value != "[service-graphs]" {
				t.Errorf("%s: Tempo's processors are %s", file, value)
			}
		}
	}
	// Tempo gives a tenant with overrides none of the defaults: without a limit it may write nothing.
	for _, limit := range []string{"rate_limit_bytes", "burst_size_bytes"} {
		if got := leaves(t, "conf/collector/tempo-overrides.yaml")["overrides.single-tenant.ingestion."+limit]; !regexp.MustCompile(`^[1-9]\d*$`).MatchString(got) {
			t.Errorf("the tenant's %s is %q", limit, got)
		}
	}
	command := compose.Stack(t, "collector", nil).Services["tempo"].Command
	if !slices.Contains(command, "-config.per-user-override-config=/etc/tempo-overrides.yaml") {
		t.Errorf("Tempo is started with %v", command)
	}
}

// TestATenantHasLimits: its overrides replace all defaults, and a limit of nothing lets no span in.
func TestATenantHasLimits(t *testing.T) {
	set := leaves(t, "conf/collector/tempo-overrides.yaml")
	for _, limit := range []string{"ingestion.rate_limit_bytes", "ingestion.burst_size_bytes", "global.max_bytes_per_trace"} {
		if set["overrides.single-tenant."+limit] == "" {
			t.Errorf("%s is not set", limit)
		}
	}
}
