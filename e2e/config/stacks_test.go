package config

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"

	"example.com/grafana-tempo-go-demo/e2e/internal/compose"
)

// receiver is the service that takes all spans, by stack.
var receiver = map[string]string{"plain": "tempo", "collector": "collector", "scale": "collector-balancer"}

func isTempo(service types.ServiceConfig) bool {
	return strings.HasPrefix(service.Image, "grafana/tempo:")
}

// TestAnOverrideChangesNothingElse: what docker-compose.yaml has, Tempo aside, is as it was, but for
// what it waits for and for the files that Prometheus reads besides its own.
func TestAnOverrideChangesNothingElse(t *testing.T) {
	plain := compose.Project(t, nil)
	eachStack(t, func(t *testing.T, stack string) {
		project := compose.Stack(t, stack, nil)
		for name, want := range plain.Services {
			got := project.Services[name]
			got.DependsOn, want.DependsOn = nil, nil
			if name == "prometheus" {
				got.Volumes = slices.DeleteFunc(slices.Clone(got.Volumes), func(volume types.ServiceVolumeConfig) bool {
					return strings.HasPrefix(volume.Target, "/etc/prometheus.d/")
				})
			}
			if name != "tempo" && !reflect.DeepEqual(got, want) {
				t.Errorf("%s is\n%+v\nwithout the override\n%+v", name, got, want)
			}
		}
	})
}

// TestSpansHaveOneWayIn: the senders know one name, and strangers the ports of whoever has it. Whoever
// stops after it would lose spans. Traefik, which lets requests in, starts after it.
func TestSpansHaveOneWayIn(t *testing.T) {
	withEBPF(t, func(t *testing.T, stack string) {
		project := compose.Stack(t, stack, nil)
		base, _, _ := strings.Cut(stack, "+")
		one := receiver[strings.Replace(base, "ebpf", "plain", 1)]
		for name, service := range project.Services {
			takes, published := slices.Contains(compose.Aliases(service), "otlp"), 0
			for _, port := range service.Ports {
				if slices.Contains([]uint32{4317, 4318, 14268}, port.Target) {
					published++
				}
			}
			if want := name == one; takes != want || (published == 3) != want {
				t.Errorf("%s takes the spans: %t, from %d published ports; want %t", name, takes, published, want)
			}
			if endpoint := compose.Variable(service, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"); endpoint != "" {
				if endpoint != "http://otlp:4317" || !share(service, project.Services[one]) {
					t.Errorf("%s sends its spans to %s, and %s takes them", name, endpoint, one)
				}
			}
		}
		if !waitsFor(project, "traefik", one) {
			t.Errorf("traefik does not wait until %s is healthy", one)
		}
		for _, sender := range append([]string{"traefik"}, instrumented...) {
			if _, ok := project.Services[sender].DependsOn[one]; !ok {
				t.Errorf("%s may outlive %s", sender, one)
			}
		}
	})
}

// TestTempoAtScaleIsWhole: what each part must have, or it loses spans without a word.
func TestTempoAtScaleIsWhole(t *testing.T) {
	for name, service := range compose.Stack(t, "scale", nil).Services {
		if !isTempo(service) {
			continue
		}
		if !slices.Equal(compose.Aliases(service), []string{"gossip"}) {
			t.Errorf("%s is not found by the other parts: %v", name, compose.Aliases(service))
		}
		// These take the partition that the host name ends with.
		owner := service.Command[0] == "-target=live-store" || service.Command[0] == "-target=block-builder"
		if owner && (service.Hostname != name || !strings.HasSuffix(name, "-0")) {
			t.Errorf("%s has the host name %q, want its own with the number of a partition", name, service.Hostname)
		}
	}
}

// TestTemposAreSetAlike compares what the three configurations of Tempo set, value by value: as one
// process, as microservices, and as values of a Helm chart.
func TestTemposAreSetAlike(t *testing.T) {
	one, many := leaves(t, "conf/tempo.yaml"), leaves(t, "conf/scale/tempo.yaml")
	differ := regexp.MustCompile(`^(storage\.trace\.(backend|local)|distributor\.receivers\.jaeger|` +
		`overrides\.defaults\.metrics_generator\.processors)`)
	for path, want := range one {
		if got := many[path]; got != want && !differ.MatchString(path) {
			t.Errorf("%s is %q in conf/scale/tempo.yaml, %q in conf/tempo.yaml", path, got, want)
		}
	}
	const chart = "deploy/kubernetes/scale/tempo-distributed.values.yaml"
	inChart := strings.NewReplacer("tempo.structuredConfig.", "", "metricsGenerator.config.", "metrics_generator.",
		"backendScheduler.config.", "backend_scheduler.", "streamOverHTTPEnabled", "stream_over_http_enabled",
		"reportingEnabled", "usage_report.reporting_enabled")
	values := map[string]string{}
	for path, value := range leaves(t, chart) {
		values[inChart.Replace(path)] = value
	}
	// Names, ports and folders of the chart's own.
	itself := regexp.MustCompile(`^(server|distributor\.receivers)\.|^memberlist\.(bind|join|abort)|` +
		`path$|_addr(ess)?$|kvstore\.store$`)
	for path, want := range many {
		if got := values[path]; got != want && (path == "ingest.kafka.address" || !itself.MatchString(path)) {
			t.Errorf("%s is %q in %s, %q in conf/scale/tempo.yaml", path, got, chart, want)
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
	command := compose.Stack(t, "collector", nil).Services["tempo"].Command
	if !slices.Contains(command, "-config.per-user-override-config=/etc/tempo-overrides.yaml") {
		t.Errorf("Tempo is started with %v", command)
	}
}
