package config

import (
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
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

func TestPrometheusLoadsItsConfiguration(t *testing.T) {
	t.Setenv("GRAFANA_URL", "http://localhost:3000")
	conf, watching := prometheusConfig(t, "self-tracing-false.yaml"), prometheusConfig(t, "self-tracing-true.yaml")
	watching.TracingConfig = conf.TracingConfig
	if watching.String() != conf.String() {
		t.Errorf("self-tracing-true.yaml differs by more than tracing:\n%s\nand without\n%s", watching, conf)
	}
	scrapes, err := conf.GetScrapeConfigs()
	if err != nil {
		t.Fatal(err)
	}
	project := compose.Project(t, nil)
	scraped := map[string]bool{}
	for _, scrape := range scrapes {
		scraped[scrape.JobName] = true
		for _, sd := range scrape.ServiceDiscoveryConfigs {
			groups, _ := sd.(discovery.StaticConfig)
			if len(groups) != 1 || len(groups[0].Targets) != 1 {
				t.Fatalf("job %s: want one target, has %v", scrape.JobName, sd)
			}
			host, port, err := net.SplitHostPort(string(groups[0].Targets[0]["__address__"]))
			if host == "localhost" {
				host = "prometheus"
			}
			service, ok := project.Services[host]
			if err != nil || !ok || scrape.JobName != host {
				t.Errorf("job %s fetches from %s: it has the name of a service of docker-compose.yaml", scrape.JobName, host)
			}
			if own := compose.Variable(service, "OTEL_EXPORTER_PROMETHEUS_PORT"); own != "" && own != port {
				t.Errorf("%s serves its metrics on port %s, and is asked on %s", host, own, port)
			}
		}
	}
	for name := range project.Services {
		if plain := name == "uservice1" || name == "uservice2"; scraped[name] == plain {
			t.Errorf("Prometheus fetches metrics of %s: %t", name, scraped[name])
		}
	}
}

// prometheusConfig loads a configuration as Prometheus itself does, with all the files that it
// names.
func prometheusConfig(t *testing.T, name string) *config.Config {
	t.Helper()
	conf, err := config.LoadFile(repo.Path("conf/prometheus/"+name), false, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if len(conf.RuleFiles) != 1 || filepath.Base(conf.RuleFiles[0]) != "alerts.yaml" {
		t.Errorf("%s: the rules are %v", name, conf.RuleFiles)
	}
	return conf
}

func TestTraefikRoutesEachServiceByItsName(t *testing.T) {
	got, want := leaves(t, "conf/traefik/routes.yaml"), map[string]string{}
	for _, name := range repo.Services {
		want["http.routers."+name+".rule"] = "Host(`" + name + ".localhost`)"
		want["http.routers."+name+".service"] = name
		want["http.routers."+name+".entryPoints"] = "[web]"
		want["http.services."+name+".loadBalancer.servers"] = "[map[url:http://" + name + ":7878]]"
	}
	// Nothing beside them, such as a router to Traefik's own API.
	if !maps.Equal(got, want) {
		t.Errorf("the routes are %v, want %v", got, want)
	}
}

// TestTraefiksSpansWaitForTheTraceStore: they take an entry point of their own, which makes no spans of them.
func TestTraefiksSpansWaitForTheTraceStore(t *testing.T) {
	args := compose.Project(t, nil).Services["traefik"].Command
	for _, want := range []string{
		"--tracing.otlp.grpc.endpoint=127.0.0.1:4317", "--entrypoints.spans.address=127.0.0.1:4317",
		"--entrypoints.spans.observability.tracing=false",
	} {
		if !slices.Contains(args, want) {
			t.Errorf("traefik's command lacks %s", want)
		}
	}
	way := leaves(t, "conf/traefik/spans.yaml")
	for path, want := range map[string]string{
		"http.routers.spans.entryPoints": "[spans]", "http.routers.spans.middlewares": "[spans]",
		"http.services.spans.loadBalancer.servers": "[map[url:h2c://otlp:4317]]",
	} {
		if way[path] != want {
			t.Errorf("%s is %q, want %q", path, way[path], want)
		}
	}
}

// grafanaSource is a data source as Grafana provisions it.
type grafanaSource struct {
	Name, UID, Type, Access, URL string
	IsDefault                    bool `yaml:"isDefault"`
	Editable                     bool
	JSONData                     map[string]any `yaml:"jsonData"`
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
		checkUIDs(t, uid, source.JSONData, sources)
	}
	// Grafana expands environment variables in provisioned files, so that a single dollar and the name
	// or brace behind it are lost.
	for _, name := range []string{"datasources/datasources.yaml", "providers/providers.yaml"} {
		for i, line := range strings.Split(string(repo.Read(t, "conf/grafana/"+name)), "\n") {
			code, _, _ := strings.Cut(line, "# ")
			if strings.Contains(strings.ReplaceAll(code, "$$", ""), "$") {
				t.Errorf("%s:%d: write $$ for a dollar that Grafana is to keep: %s", name, i+1, line)
			}
		}
	}
}

// checkUIDs checks that every datasourceUid below a value names a data source.
func checkUIDs(t *testing.T, path string, value any, sources map[string]grafanaSource) {
	t.Helper()
	switch value := value.(type) {
	case map[string]any:
		for key, child := range value {
			if uid, ok := child.(string); ok && key == "datasourceUid" && sources[uid].UID == "" {
				t.Errorf("%s names the data source %q, which there is not", path, uid)
			}
			checkUIDs(t, path+"."+key, child, sources)
		}
	case []any:
		for _, child := range value {
			checkUIDs(t, path, child, sources)
		}
	}
}
