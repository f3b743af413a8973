package config

import (
	"fmt"
	"maps"
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

// eachStack runs a test for each way to start the demo with Docker.
func eachStack(t *testing.T, test func(t *testing.T, stack string)) {
	t.Helper()
	for stack := range compose.Stacks {
		t.Run(stack, func(t *testing.T) { test(t, stack) })
	}
}

func isTempo(service types.ServiceConfig) bool {
	return strings.HasPrefix(service.Image, "grafana/tempo:")
}

// aliases are the names of a service besides its own.
func aliases(service types.ServiceConfig) []string {
	if network := service.Networks["default"]; network != nil {
		return network.Aliases
	}
	return nil
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
		tempo := project.Services["tempo"]
		if len(tempo.Ports) == 0 || tempo.Ports[0].Target != 3200 || tempo.Image != plain.Services["tempo"].Image {
			t.Errorf("Tempo's API is not where it was: %+v", tempo)
		}
	})
}

// TestSpansHaveOneWayIn: the senders know one name. Whoever starts before it or stops after it would
// lose spans.
func TestSpansHaveOneWayIn(t *testing.T) {
	eachStack(t, func(t *testing.T, stack string) {
		project := compose.Stack(t, stack, nil)
		for name, service := range project.Services {
			if got, want := slices.Contains(aliases(service), "otlp"), name == receiver[stack]; got != want {
				t.Errorf("%s takes the spans: %t, want %t", name, got, want)
			}
		}
		for _, sender := range append([]string{"traefik"}, instrumented...) {
			if !waitsFor(project, sender, receiver[stack]) {
				t.Errorf("%s does not wait until %s is healthy", sender, receiver[stack])
			}
		}
	})
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

// TestTempoAtScaleIsWhole: all parts that Tempo needs, as many of each as there should be, and what
// each must have or it loses spans without a word.
func TestTempoAtScaleIsWhole(t *testing.T) {
	project := compose.Stack(t, "scale", nil)
	parts, zones := map[string]int{}, map[string]string{}
	for name, service := range project.Services {
		if !isTempo(service) {
			continue
		}
		if !slices.Equal(aliases(service), []string{"gossip"}) {
			t.Errorf("%s is not found by the other parts: %v", name, aliases(service))
		}
		if len(service.Command) < 2 || service.Command[1] != "-config.file=/etc/tempo.yaml" || len(service.Volumes) != 1 ||
			!strings.HasSuffix(service.Volumes[0].Source, "/conf/scale/tempo.yaml") {
			t.Errorf("%s is started with %v and mounts %+v", name, service.Command, service.Volumes)
			continue
		}
		if len(service.Tmpfs) != 1 || !strings.HasPrefix(service.Tmpfs[0], "/var/tempo:uid=10001,gid=10001,") {
			t.Errorf("%s does not start with an empty folder of its own: %v", name, service.Tmpfs)
		}
		target := strings.TrimPrefix(service.Command[0], "-target=")
		parts[target] += service.GetScale()
		// These take the partition that the host name ends with.
		if (target == "live-store" || target == "block-builder") && (service.Hostname != name || !strings.HasSuffix(name, "-0")) {
			t.Errorf("%s has the host name %q, want its own with the number of a partition", name, service.Hostname)
		}
		if target == "live-store" {
			zones[strings.Join(service.Command[2:], " ")] = name
		}
	}
	want := map[string]int{
		"distributor": 2, "live-store": 2, "block-builder": 1, "metrics-generator": 1, "querier": 2, "query-frontend": 1,
		"backend-scheduler": 1, "backend-worker": 1,
	}
	if !maps.Equal(parts, want) {
		t.Errorf("the parts are %v, want %v", parts, want)
	}
	for _, zone := range []string{"a", "b"} {
		if zones["-live-store.instance-availability-zone=zone-"+zone] != "live-store-zone-"+zone+"-0" {
			t.Errorf("no live-store in zone %s: %v", zone, zones)
		}
	}
	// A live-store reads twice its complete_block_timeout (20m) again when it starts.
	if keeps := brokerSetting(t, "log.retention.minutes"); keeps < 40 {
		t.Errorf("Kafka keeps %d minutes: a live-store that starts needs forty", keeps)
	}
}

// brokerSetting reads a number from Kafka's server.properties.
func brokerSetting(t *testing.T, name string) int64 {
	t.Helper()
	found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + `=(\d+)$`).FindSubmatch(repo.Read(t, "conf/scale/kafka.properties"))
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

// TestBothTemposAreSetAlike compares what conf/tempo.yaml and conf/scale/tempo.yaml set, value by
// value.
func TestBothTemposAreSetAlike(t *testing.T) {
	one, many := leaves(t, "conf/tempo.yaml"), leaves(t, "conf/scale/tempo.yaml")
	differ := regexp.MustCompile(`^(storage\.trace\.(backend|local)|distributor\.receivers\.jaeger|overrides\.defaults\.metrics_generator\.processors)`)
	for path, want := range one {
		if got := many[path]; got != want && !differ.MatchString(path) {
			t.Errorf("%s is %q in conf/scale/tempo.yaml, %q in conf/tempo.yaml", path, got, want)
		}
	}
}

// leaves returns all values of a YAML file by their paths.
func leaves(t *testing.T, name string) map[string]string {
	t.Helper()
	found := map[string]string{}
	var walk func(path string, value any)
	walk = func(path string, value any) {
		if children, ok := value.(map[string]any); ok {
			for key, child := range children {
				walk(strings.TrimPrefix(path+"."+key, "."), child)
			}
			return
		}
		found[path] = fmt.Sprint(value)
	}
	var all map[string]any
	if err := yaml.Unmarshal(repo.Read(t, name), &all); err != nil {
		t.Fatal(err)
	}
	walk("", all)
	return found
}

// TestAddressesOfTheOverridesExist: each host:port in their files is a service, or a name that one
// has besides.
func TestAddressesOfTheOverridesExist(t *testing.T) {
	project := compose.Stack(t, "scale", nil)
	known := map[string]bool{"localhost": true}
	for name, service := range project.Services {
		known[name] = true
		for _, alias := range aliases(service) {
			known[alias] = true
		}
	}
	address := regexp.MustCompile(`([a-z][a-z0-9-]*):\d{4,5}\b|\b(?:hostname: |names: \[)([a-z-]+)`)
	checked := 0
	for _, folder := range []string{"conf/scale", "conf/collector"} {
		for _, file := range repo.Files(t, folder, "*") {
			for _, found := range address.FindAllStringSubmatch(string(repo.Read(t, folder+"/"+file)), -1) {
				checked++
				if host := found[1] + found[2]; !known[host] {
					t.Errorf("%s/%s names %s, which no service has", folder, file, host)
				}
			}
		}
	}
	if checked < 15 {
		t.Errorf("only %d addresses were found", checked)
	}
}

// TestEveryPartIsScraped: the doctor finds by these metrics where a span is stuck.
func TestEveryPartIsScraped(t *testing.T) {
	var targets []string
	for _, file := range []string{"conf/prometheus/scrape.yaml", "conf/collector/scrape.yaml", "conf/scale/scrape.yaml"} {
		var conf struct {
			Jobs []struct {
				Static []struct{ Targets []string } `yaml:"static_configs"`
				DNS    []struct {
					Names []string
					Port  int
				} `yaml:"dns_sd_configs"`
			} `yaml:"scrape_configs"`
		}
		if err := yaml.Unmarshal(repo.Read(t, file), &conf); err != nil {
			t.Fatal(err)
		}
		for _, job := range conf.Jobs {
			for _, static := range job.Static {
				targets = append(targets, static.Targets...)
			}
			for _, dns := range job.DNS {
				for _, name := range dns.Names {
					targets = append(targets, fmt.Sprintf("%s:%d", name, dns.Port))
				}
			}
		}
	}
	for name, service := range compose.Stack(t, "scale", nil).Services {
		port := 3200
		if strings.HasPrefix(service.Image, "otel/") {
			port = 8888
		} else if !isTempo(service) {
			continue
		}
		if target := fmt.Sprintf("%s:%d", name, port); !slices.Contains(targets, target) {
			t.Errorf("Prometheus does not scrape %s", target)
		}
	}
	for stack, files := range map[string][]string{"collector": {"collector"}, "scale": {"collector", "scale"}} {
		for _, file := range files {
			if !slices.ContainsFunc(compose.Stack(t, stack, nil).Services["prometheus"].Volumes, func(volume types.ServiceVolumeConfig) bool {
				return volume.Target == "/etc/prometheus.d/"+file+".yaml" && strings.HasSuffix(volume.Source, "/conf/"+file+"/scrape.yaml")
			}) {
				t.Errorf("%s: Prometheus does not read conf/%s/scrape.yaml", stack, file)
			}
		}
	}
}
