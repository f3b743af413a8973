package config

import (
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v3"

	"example.com/grafana-tempo-go-demo/e2e/internal/compose"
	"example.com/grafana-tempo-go-demo/e2e/internal/repo"
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
// starts before it or stops after it would lose spans.
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
		for _, sender := range append([]string{"traefik"}, instrumented...) {
			if !waitsFor(project, sender, one) {
				t.Errorf("%s does not wait until %s is healthy", sender, one)
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
		if len(service.Tmpfs) != 1 || !strings.HasPrefix(service.Tmpfs[0], "/var/tempo:uid=10001,gid=10001,") {
			t.Errorf("%s does not start with an empty folder of its own: %v", name, service.Tmpfs)
		}
		// These take the partition that the host name ends with.
		owner := service.Command[0] == "-target=live-store" || service.Command[0] == "-target=block-builder"
		if owner && (service.Hostname != name || !strings.HasSuffix(name, "-0")) {
			t.Errorf("%s has the host name %q, want its own with the number of a partition", name, service.Hostname)
		}
	}
	// A live-store reads twice its complete_block_timeout (20m) again when it starts.
	if keeps := brokerSetting(t, "log.retention.minutes"); keeps < 40 {
		t.Errorf("Kafka keeps %d minutes: a live-store that starts needs forty", keeps)
	}
}

// brokerSetting reads a number from Kafka's configuration.
func brokerSetting(t *testing.T, name string) int64 {
	t.Helper()
	setting := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + `=(\d+)$`)
	found := setting.FindSubmatch(repo.Read(t, "conf/scale/kafka.properties"))
	if found == nil {
		t.Fatalf("conf/scale/kafka.properties does not set %s to a number", name)
	}
	n, err := strconv.ParseInt(string(found[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestALiveStoreThatReadsAgainFitsItsMemory: killed after 36,000 requests, with the defaults of both,
// one that started again was killed for its memory. In there, unfinished traces took five times
// their size, and what comes from Kafka, compressed, six times.
func TestALiveStoreThatReadsAgainFitsItsMemory(t *testing.T) {
	unfinished, err := strconv.ParseInt(leaves(t, "conf/scale/tempo.yaml")["live_store.max_live_traces_bytes"], 10, 64)
	if err != nil {
		t.Fatalf("max_live_traces_bytes: %v", err)
	}
	needs := 5*unfinished + 6*brokerSetting(t, "fetch.max.bytes")
	if has := int64(compose.Stack(t, "scale", nil).Services["live-store-zone-a-0"].MemLimit); needs > has/2 {
		t.Errorf("a start takes %d MiB and more, its limit is %d MiB", needs>>20, has>>20)
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

// TestEveryPartIsScraped: the doctor finds by these metrics which parts are down.
func TestEveryPartIsScraped(t *testing.T) {
	for _, stack := range []string{"collector", "scale"} {
		project := compose.Stack(t, stack, nil)
		scraped := string(repo.Read(t, "conf/prometheus/scrape.yaml"))
		for _, volume := range project.Services["prometheus"].Volumes {
			if strings.HasPrefix(volume.Target, "/etc/prometheus.d/") {
				scraped += string(repo.Read(t, volume.Source[strings.Index(volume.Source, "conf/"):]))
			}
		}
		targets := serviceAddress.FindAllString(discovered.ReplaceAllString(scraped, "$1:$2"), -1)
		for name, service := range project.Services {
			port := "3200"
			if strings.HasPrefix(service.Image, "otel/") {
				port = "8888"
			}
			if (isTempo(service) || port == "8888") && !slices.Contains(targets, name+":"+port) {
				t.Errorf("%s: Prometheus does not scrape %s:%s", stack, name, port)
			}
		}
	}
}

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
			if slices.Contains(parts.Exporters, "span_metrics") && len(parts.Processors) > 1 {
				t.Errorf("%s: %s counts spans when some are dropped", name, pipeline)
			}
		}
		for _, defined := range []map[string]any{
			conf.Receivers, conf.Processors, conf.Exporters, conf.Connectors, conf.Extensions,
		} {
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
	for _, limit := range []string{"ingestion.rate_limit_bytes", "ingestion.burst_size_bytes"} {
		if got := leaves(t, tenant)["overrides.single-tenant."+limit]; got == "" || got == "0" {
			t.Errorf("%s: %s is %q", tenant, limit, got)
		}
	}
	command := compose.Stack(t, "collector", nil).Services["tempo"].Command
	if !slices.Contains(command, "-config.per-user-override-config=/etc/tempo-overrides.yaml") {
		t.Errorf("Tempo is started with %v", command)
	}
}
