package config

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"example.com/grafana-tempo-go-demo/e2e/internal/compose"
	"example.com/grafana-tempo-go-demo/e2e/internal/repo"
)

// decode reads a YAML file of conf/ into v. Unknown keys are errors, so that misspelt ones are
// found.
func decode(t *testing.T, name string, v any) {
	t.Helper()
	decoder := yaml.NewDecoder(strings.NewReader(string(repo.Read(t, name))))
	decoder.KnownFields(true)
	if err := decoder.Decode(v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// leaves returns all values of a YAML file by their paths. The programs themselves check the whole;
// their packages are too heavy to import.
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

// TestTracingItselfChangesNothingElse in Prometheus, which is given one of two files by SELF_TRACING.
func TestTracingItselfChangesNothingElse(t *testing.T) {
	without, with := leaves(t, "conf/prometheus/self-tracing-false.yaml"), leaves(t, "conf/prometheus/self-tracing-true.yaml")
	maps.DeleteFunc(with, func(path, _ string) bool { return strings.HasPrefix(path, "tracing.") })
	if !maps.Equal(with, without) {
		t.Errorf("self-tracing-true.yaml differs by more than tracing:\n%v\nand without\n%v", with, without)
	}
}

// jobTarget matches a job of conf/prometheus/scrape.yaml and its one target.
var jobTarget = regexp.MustCompile(`job_name: (\S+)\s+static_configs:\s+- targets: \[([a-z0-9]+):\d+\]`)

// TestPrometheusScrapesOurMetrics: the doctor finds by these which parts are down. The label job is what traces call
// service.name.
func TestPrometheusScrapesOurMetrics(t *testing.T) {
	scrape := string(repo.Read(t, "conf/prometheus/scrape.yaml"))
	for _, found := range jobTarget.FindAllStringSubmatch(scrape, -1) {
		if job, host := found[1], found[2]; host != job && host != "localhost" {
			t.Errorf("the job %s scrapes %s", job, host)
		}
	}
	eachStack(t, func(t *testing.T, stack string) {
		project, scraped := compose.Stack(t, stack, nil), scrape
		for _, volume := range project.Services["prometheus"].Volumes {
			if strings.HasPrefix(volume.Target, "/etc/prometheus.d/") {
				scraped += string(repo.Read(t, volume.Source[strings.Index(volume.Source, "conf/"):]))
			}
		}
		targets := serviceAddress.FindAllString(discovered.ReplaceAllString(scraped, "$1:$2"), -1)
		for name, service := range project.Services {
			port := compose.Variable(service, "OTEL_EXPORTER_PROMETHEUS_PORT")
			if isTempo(service) {
				port = "3200"
			} else if strings.HasPrefix(service.Image, "otel/") {
				port = "8888"
			}
			if port != "" && !slices.Contains(targets, name+":"+port) {
				t.Errorf("Prometheus does not scrape %s:%s", name, port)
			}
		}
	})
}

// grafanaSource is a data source as Grafana provisions it, with the keys of jsonData that its own types of Prometheus,
// Loki and Tempo have. Others would be ignored in silence.
type grafanaSource struct {
	Name, UID, Type, Access, URL string
	IsDefault                    bool `yaml:"isDefault"`
	Editable                     bool
	JSONData                     struct {
		HTTPMethod   string `yaml:"httpMethod"`
		TimeInterval string `yaml:"timeInterval"`
		ManageAlerts *bool  `yaml:"manageAlerts"`

		ExemplarTraceIDDestinations []struct {
			Name          string
			DatasourceUID string `yaml:"datasourceUid"`
		} `yaml:"exemplarTraceIdDestinations"`
		DerivedFields []struct {
			Name, URL       string
			MatcherType     string `yaml:"matcherType"`
			MatcherRegex    string `yaml:"matcherRegex"`
			URLDisplayLabel string `yaml:"urlDisplayLabel"`
			DatasourceUID   string `yaml:"datasourceUid"`
		} `yaml:"derivedFields"`

		StreamingEnabled struct{ Search, Metrics bool } `yaml:"streamingEnabled"`
		NodeGraph        struct{ Enabled bool }         `yaml:"nodeGraph"`
		ServiceMap       struct {
			DatasourceUID string `yaml:"datasourceUid"`
		} `yaml:"serviceMap"`
		TracesToLogs    tracesTo `yaml:"tracesToLogsV2"`
		TracesToMetrics tracesTo `yaml:"tracesToMetrics"`
	} `yaml:"jsonData"`
}

// tracesTo leads from a span to another signal.
type tracesTo struct {
	DatasourceUID      string `yaml:"datasourceUid"`
	SpanStartTimeShift string `yaml:"spanStartTimeShift"`
	SpanEndTimeShift   string `yaml:"spanEndTimeShift"`
	Tags               []struct{ Key, Value string }
	CustomQuery        bool `yaml:"customQuery"`
	Query              string
	Queries            []struct{ Name, Query string }
}

// grafanaSources returns Grafana's data sources by uid.
func grafanaSources(t *testing.T) map[string]grafanaSource {
	t.Helper()
	var conf struct {
		APIVersion  int `yaml:"apiVersion"`
		Prune       bool
		Datasources []grafanaSource
	}
	decode(t, "conf/grafana/datasources/datasources.yaml", &conf)
	sources := map[string]grafanaSource{}
	for _, source := range conf.Datasources {
		sources[source.UID] = source
	}
	return sources
}

func TestGrafanaDataSources(t *testing.T) {
	sources := grafanaSources(t)
	project := compose.Project(t, nil)
	for uid, source := range sources {
		if source.Access != "proxy" || source.IsDefault != (uid == "tempo") {
			t.Errorf("%s: access %q (browsers do not know %s), default %t", uid, source.Access, source.URL, source.IsDefault)
		}
		address, err := url.Parse(source.URL)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := project.Services[address.Hostname()]; !ok {
			t.Errorf("%s: %s is no service of docker-compose.yaml", uid, source.URL)
		}
	}
	named := regexp.MustCompile(`datasourceUid: (\S+)`)
	for _, found := range named.FindAllSubmatch(repo.Read(t, "conf/grafana/datasources/datasources.yaml"), -1) {
		if uid := string(found[1]); sources[uid].UID == "" {
			t.Errorf("there is no data source %s", uid)
		}
	}
}
