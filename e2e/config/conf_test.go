package config

import (
	"log/slog"
	"maps"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

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

func TestPrometheusLoadsItsConfiguration(t *testing.T) {
	t.Setenv("GRAFANA_URL", "http://localhost:3000")
	conf, watching := prometheusConfig(t, "self-tracing-false.yaml"), prometheusConfig(t, "self-tracing-true.yaml")
	if got := conf.GlobalConfig.ExternalLabels.Get("grafana"); got != "http://localhost:3000" {
		t.Errorf("the links of alerts lead to %q", got)
	}
	tracing := watching.TracingConfig
	if tracing.Endpoint != "otlp:4317" || tracing.SamplingFraction <= 0 || tracing.SamplingFraction > 0.1 {
		t.Errorf("Prometheus' own traces: %+v, want a small part of them in Tempo", tracing)
	}
	watching.TracingConfig = conf.TracingConfig
	if watching.String() != conf.String() {
		t.Errorf("self-tracing-true.yaml differs by more than tracing:\n%s\nand without\n%s", watching, conf)
	}
	if conf.StorageConfig.TSDBConfig == nil || conf.StorageConfig.TSDBConfig.Retention == nil ||
		time.Duration(conf.StorageConfig.TSDBConfig.Retention.Time) != time.Hour {
		t.Error("metrics are not kept for an hour, as traces are")
	}
	scrapes, err := conf.GetScrapeConfigs()
	if err != nil {
		t.Fatal(err)
	}
	project := compose.Project(t, nil)
	var jobs []string
	for _, scrape := range scrapes {
		jobs = append(jobs, scrape.JobName)
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
				t.Errorf("job %s fetches from %s: a job is a service of docker-compose.yaml, and has its name", scrape.JobName, host)
			}
			if own := compose.Variable(service, "OTEL_EXPORTER_PROMETHEUS_PORT"); own != "" && own != port {
				t.Errorf("%s serves its metrics on port %s, and is asked on %s", host, own, port)
			}
		}
	}
	slices.Sort(jobs)
	if want := []string{"grafana", "loki", "prober", "prometheus", "tempo", "traefik", "uservice3", "uservice4"}; !slices.Equal(jobs, want) {
		t.Errorf("the scrape jobs are %v, want %v", jobs, want)
	}
	if !slices.Contains(project.Services["traefik"].Command, "--metrics.prometheus=true") {
		t.Error("Traefik has no metrics")
	}

	command := project.Services["prometheus"].Command
	for _, flag := range []string{"--web.enable-remote-write-receiver", "--enable-feature=exemplar-storage"} {
		if !slices.Contains(command, flag) {
			t.Errorf("without %s Prometheus refuses what Tempo writes, or its exemplars", flag)
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

// TestLokiAndItsClientsAgree reads only what its clients depend on, as TestTempoAndItsClientsAgree
// does.
func TestLokiAndItsClientsAgree(t *testing.T) {
	var conf struct {
		Server struct {
			HTTPListenPort int `yaml:"http_listen_port"`
		}
		Analytics struct {
			ReportingEnabled *bool `yaml:"reporting_enabled"`
		}
		SchemaConfig struct {
			Configs []struct{ Store, Schema string }
		} `yaml:"schema_config"`
		Limits struct {
			RetentionPeriod string `yaml:"retention_period"`
		} `yaml:"limits_config"`
		Compactor struct {
			RetentionEnabled bool `yaml:"retention_enabled"`
		}
	}
	if err := yaml.Unmarshal(repo.Read(t, "conf/loki.yaml"), &conf); err != nil {
		t.Fatal(err)
	}
	if conf.Server.HTTPListenPort != 3100 {
		t.Errorf("Loki listens on port %d", conf.Server.HTTPListenPort)
	}
	if report := conf.Analytics.ReportingEnabled; report == nil || *report {
		t.Error("Loki reports its usage")
	}
	if len(conf.SchemaConfig.Configs) != 1 || conf.SchemaConfig.Configs[0].Schema != "v13" || conf.SchemaConfig.Configs[0].Store != "tsdb" {
		t.Errorf("the attributes of log lines need schema v13 with tsdb, not %+v", conf.SchemaConfig.Configs)
	}
	if conf.Limits.RetentionPeriod != "1h" || !conf.Compactor.RetentionEnabled {
		t.Errorf("log lines are kept for %s, deleted: %t; traces and metrics for an hour", conf.Limits.RetentionPeriod, conf.Compactor.RetentionEnabled)
	}
	project := compose.Project(t, nil)
	for _, name := range instrumented {
		if got := compose.Variable(project.Services[name], "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"); got != "http://loki:3100/otlp/v1/logs" {
			t.Errorf("%s sends its log lines to %s", name, got)
		}
	}
}

func TestTraefikRoutesEachServiceByItsName(t *testing.T) {
	var conf struct {
		HTTP struct {
			Routers map[string]struct {
				Rule        string
				EntryPoints []string `yaml:"entryPoints"`
				Service     string
			}
			Services map[string]struct {
				LoadBalancer struct {
					Servers []struct{ URL string }
				} `yaml:"loadBalancer"`
			}
		}
	}
	decode(t, "conf/traefik/routes.yaml", &conf)
	if got := slices.Sorted(maps.Keys(conf.HTTP.Routers)); !slices.Equal(got, repo.Services) {
		t.Errorf("routers: %v, want %v", got, repo.Services)
	}
	if got := slices.Sorted(maps.Keys(conf.HTTP.Services)); !slices.Equal(got, repo.Services) {
		t.Errorf("services: %v, want %v", got, repo.Services)
	}
	for _, name := range repo.Services {
		router := conf.HTTP.Routers[name]
		if router.Rule != "Host(`"+name+".localhost`)" || router.Service != name || !slices.Equal(router.EntryPoints, []string{"web"}) {
			t.Errorf("router %s: %+v", name, router)
		}
		servers := conf.HTTP.Services[name].LoadBalancer.Servers
		if len(servers) != 1 || servers[0].URL != "http://"+name+":7878" {
			t.Errorf("service %s: %+v", name, servers)
		}
	}

	traefik := compose.Project(t, nil).Services["traefik"]
	for _, flag := range []string{"--entrypoints.web.address=:8000", "--tracing=true", "--tracing.otlp.grpc.endpoint=otlp:4317", "--global.checknewversion=false", "--global.sendanonymoususage=false"} {
		if !slices.Contains(traefik.Command, flag) {
			t.Errorf("Traefik is started without %s", flag)
		}
	}
	for _, flag := range traefik.Command {
		if strings.HasPrefix(flag, "--providers.") && !strings.HasPrefix(flag, "--providers.file.directory=") {
			t.Errorf("Traefik needs no other provider than that of files: %s", flag)
		}
	}
}

// TestTempoAndItsClientsAgree reads only the part of Tempo's configuration that its clients depend
// on. Tempo itself checks the whole; its packages are too heavy to import.
func TestTempoAndItsClientsAgree(t *testing.T) {
	var conf struct {
		Server struct {
			HTTPListenPort int `yaml:"http_listen_port"`
		}
		Distributor struct {
			Receivers struct {
				OTLP struct {
					Protocols struct{ GRPC struct{ Endpoint string } }
				}
				Jaeger struct {
					Protocols struct {
						ThriftHTTP struct{ Endpoint string } `yaml:"thrift_http"`
					}
				}
			}
		}
		Generator struct {
			Processor struct {
				ServiceGraphs struct {
					PeerAttributes []string `yaml:"peer_attributes"`
				} `yaml:"service_graphs"`
			}
			Storage struct {
				RemoteWrite []struct {
					URL           string
					SendExemplars bool `yaml:"send_exemplars"`
				} `yaml:"remote_write"`
			}
		} `yaml:"metrics_generator"`
		Overrides struct {
			Defaults struct {
				Generator struct {
					Processors       []string
					TraceIDLabelName string `yaml:"trace_id_label_name"`
				} `yaml:"metrics_generator"`
			}
		}
		UsageReport struct {
			ReportingEnabled *bool `yaml:"reporting_enabled"`
		} `yaml:"usage_report"`
	}
	if err := yaml.Unmarshal(repo.Read(t, "conf/tempo.yaml"), &conf); err != nil {
		t.Fatal(err)
	}
	for endpoint, want := range map[string]string{
		conf.Distributor.Receivers.OTLP.Protocols.GRPC.Endpoint:         "4317",
		conf.Distributor.Receivers.Jaeger.Protocols.ThriftHTTP.Endpoint: "14268",
	} {
		if host, port, err := net.SplitHostPort(endpoint); err != nil || host != "0.0.0.0" || port != want {
			t.Errorf("Tempo receives on %q, want every address of its container and port %s", endpoint, want)
		}
	}
	if conf.Server.HTTPListenPort != 3200 {
		t.Errorf("Tempo's API is on port %d", conf.Server.HTTPListenPort)
	}
	if write := conf.Generator.Storage.RemoteWrite; len(write) != 1 || write[0].URL != "http://prometheus:9090/api/v1/write" || !write[0].SendExemplars {
		t.Errorf("Tempo writes its metrics to %+v", write)
	}
	if got := conf.Overrides.Defaults.Generator; !slices.Contains(got.Processors, "service-graphs") || !slices.Contains(got.Processors, "span-metrics") {
		t.Errorf("Tempo's processors are %v", got.Processors)
	}
	if got := conf.Generator.Processor.ServiceGraphs.PeerAttributes; slices.Contains(got, "server.address") || !slices.Contains(got, "db.system.name") {
		t.Errorf("peers are known by %v", got)
	}
	if report := conf.UsageReport.ReportingEnabled; report == nil || *report {
		t.Error("Tempo reports its usage")
	}

	// Grafana follows exemplars by the label that Tempo gives them.
	label := conf.Overrides.Defaults.Generator.TraceIDLabelName
	sources := grafanaSources(t)
	destinations, _ := sources["prometheus"].JSONData["exemplarTraceIdDestinations"].([]any)
	if !slices.ContainsFunc(destinations, func(destination any) bool {
		fields, _ := destination.(map[string]any)
		return fields["name"] == label && fields["datasourceUid"] == "tempo"
	}) {
		t.Errorf("exemplars are labelled %q and Grafana follows %v", label, destinations)
	}

	project := compose.Project(t, nil)
	for _, name := range instrumented {
		if got := compose.Variable(project.Services[name], "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"); got != "http://otlp:4317" {
			t.Errorf("%s sends its traces to %s", name, got)
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
		if _, twice := sources[source.UID]; twice {
			t.Errorf("two data sources have the uid %q", source.UID)
		}
		sources[source.UID] = source
	}
	return sources
}

func TestGrafanaDataSources(t *testing.T) {
	sources := grafanaSources(t)
	project := compose.Project(t, nil)
	var defaults []string
	for uid, source := range sources {
		if source.IsDefault {
			defaults = append(defaults, uid)
		}
		if source.Access != "proxy" {
			t.Errorf("%s: access is %q: a browser does not know the containers' names", uid, source.Access)
		}
		address, err := url.Parse(source.URL)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := project.Services[address.Hostname()]; !ok {
			t.Errorf("%s: %s is no service of docker-compose.yaml", uid, source.URL)
		}
		for name, value := range uids(source.JSONData) {
			if _, ok := sources[value]; !ok {
				t.Errorf("%s: %s names the data source %q, which there is not", uid, name, value)
			}
		}
	}
	if !slices.Equal(defaults, []string{"tempo"}) {
		t.Errorf("the default data source is %v, want tempo alone", defaults)
	}
	if got := slices.Sorted(maps.Keys(sources)); !slices.Equal(got, []string{"loki", "prometheus", "tempo"}) {
		t.Errorf("data sources: %v", got)
	}
	tempoJSON := sources["tempo"].JSONData
	if graph, _ := tempoJSON["nodeGraph"].(map[string]any); graph["enabled"] != true {
		t.Error("the node graph is off")
	}
	if graph, _ := tempoJSON["serviceMap"].(map[string]any); graph["datasourceUid"] != "prometheus" {
		t.Error("the service graph has no data source")
	}
}

// uids returns every datasourceUid below a value, by its path.
func uids(value any) map[string]string {
	found := map[string]string{}
	var walk func(path string, value any)
	walk = func(path string, value any) {
		switch value := value.(type) {
		case map[string]any:
			for key, child := range value {
				if uid, ok := child.(string); ok && key == "datasourceUid" {
					found[path] = uid
				}
				walk(path+"."+key, child)
			}
		case []any:
			for _, child := range value {
				walk(path+"[]", child)
			}
		}
	}
	walk("jsonData", value)
	return found
}

// TestGrafanaReplacesNoDollar: Grafana expands environment variables in provisioned files, so that
// a single dollar and the name or brace behind it are lost.
func TestGrafanaReplacesNoDollar(t *testing.T) {
	for _, name := range []string{"datasources/datasources.yaml", "providers/providers.yaml"} {
		for i, line := range strings.Split(string(repo.Read(t, "conf/grafana/"+name)), "\n") {
			code, _, _ := strings.Cut(line, "# ")
			rest := strings.ReplaceAll(code, "$$", "")
			if regexp.MustCompile(`\$`).MatchString(rest) {
				t.Errorf("%s:%d: write $$ for a dollar that Grafana is to keep: %s", name, i+1, line)
			}
		}
	}
}

func TestGrafanaAsksForNoLoginAndTellsNobody(t *testing.T) {
	grafana := compose.Project(t, nil).Services["grafana"]
	for name, want := range map[string]string{
		"GF_AUTH_ANONYMOUS_ENABLED":             "true",
		"GF_AUTH_ANONYMOUS_ORG_ROLE":            "Editor",
		"GF_AUTH_DISABLE_LOGIN_FORM":            "true",
		"GF_ANALYTICS_REPORTING_ENABLED":        "false",
		"GF_ANALYTICS_CHECK_FOR_UPDATES":        "false",
		"GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
		"GF_NEWS_NEWS_FEED_ENABLED":             "false",
		"GF_PLUGINS_PREINSTALL_DISABLED":        "true",
		"GF_PLUGINS_PREINSTALL_AUTO_UPDATE":     "false",
	} {
		if got := compose.Variable(grafana, name); got != want {
			t.Errorf("%s=%s, want %s", name, got, want)
		}
	}
	if _, ok := grafana.Environment["GF_INSTALL_PLUGINS"]; ok {
		t.Error("GF_INSTALL_PLUGINS needs the internet at every start")
	}
}
