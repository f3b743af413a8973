// Package config judges docker-compose.yaml, its overrides and conf/ without starting anything.
package config

import (
	"encoding/json"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/docker/go-units"

	"example.com/grafana-tempo-go-demo/e2e/internal/compose"
	"example.com/grafana-tempo-go-demo/e2e/internal/repo"
)

// hostPorts are all ports that docker-compose.yaml publishes: variable, default, service and port
// in the container. docs/settings.md lists the same variables. The overrides move the receivers'
// ports to receiver[stack].
var hostPorts = []struct {
	variable, defaultPort, service string
	target                         uint32
}{
	{"TRAEFIK_PORT", "80", "traefik", 8000},
	{"TRAEFIK_DASHBOARD_PORT", "8080", "traefik", 8080},
	{"GRAFANA_PORT", "3000", "grafana", 3000},
	{"PROMETHEUS_PORT", "9090", "prometheus", 9090},
	{"LOKI_PORT", "3100", "loki", 3100},
	{"TEMPO_PORT", "3200", "tempo", 3200},
	{"OTLP_PORT", "4317", "tempo", 4317},
	{"JAEGER_PORT", "14268", "tempo", 14268},
	{"USERVICE1_PORT", "8081", "uservice1", 7878},
	{"USERVICE2_PORT", "8082", "uservice2", 7878},
	{"USERVICE3_PORT", "8083", "uservice3", 7878},
	{"USERVICE4_PORT", "8084", "uservice4", 7878},
}

// instrumented are the services that send traces, log lines and metrics of their own.
var instrumented = []string{"uservice3", "uservice4", "prober"}

// composeVariant is a stack with every port changed, which reveals what still names a default.
func composeVariant(t *testing.T, stack string) (project *types.Project, ports map[string]string) {
	t.Helper()
	ports = map[string]string{}
	for i, port := range hostPorts {
		ports[port.variable] = strconv.Itoa(50001 + i)
	}
	return compose.Stack(t, stack, ports), ports
}

func TestEveryPortIsOnLoopbackAndFollowsItsVariable(t *testing.T) {
	eachStack(t, func(t *testing.T, stack string) {
		moved, ports := composeVariant(t, stack)
		for name, test := range map[string]struct {
			project *types.Project
			port    func(variable, defaultPort string) string
		}{
			"with defaults":      {compose.Stack(t, stack, nil), func(_, defaultPort string) string { return defaultPort }},
			"with variables set": {moved, func(variable, _ string) string { return ports[variable] }},
		} {
			var got, want []string
			for name, service := range test.project.Services {
				for _, port := range service.Ports {
					got = append(got, port.HostIP+":"+port.Published+" "+name+":"+strconv.Itoa(int(port.Target)))
				}
			}
			for _, port := range hostPorts {
				service := port.service
				if port.variable == "OTLP_PORT" || port.variable == "JAEGER_PORT" {
					service = receiver[stack]
				}
				want = append(want, "127.0.0.1:"+test.port(port.variable, port.defaultPort)+" "+service+":"+strconv.Itoa(int(port.target)))
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("%s: published ports:\n%s\nwant:\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
	})
}

// TestNoDefaultPortRemains finds links with a fixed default port.
func TestNoDefaultPortRemains(t *testing.T) {
	fixed := regexp.MustCompile(`(^|[^.])(localhost|127\.0\.0\.1)(:(80|8080|3000|9090|3100|3200|4317|14268|808[1-4])\b|/|$)`)
	eachStack(t, func(t *testing.T, stack string) {
		project, _ := composeVariant(t, stack)
		for name, service := range project.Services {
			texts := slices.Clone([]string(service.Command))
			for key, value := range service.Environment {
				if value != nil {
					texts = append(texts, key+"="+*value)
				}
			}
			for _, text := range texts {
				if fixed.MatchString(text) {
					t.Errorf("%s: %s does not follow its variable", name, text)
				}
			}
		}
	})
}

// TestLinksToTheServicesFollowTheProxysPort: the dashboards' links use this resource attribute.
func TestLinksToTheServicesFollowTheProxysPort(t *testing.T) {
	moved, ports := composeVariant(t, "plain")
	for want, project := range map[string]*types.Project{"80": compose.Project(t, nil), ports["TRAEFIK_PORT"]: moved} {
		for _, name := range instrumented {
			if got := compose.Variable(project.Services[name], "OTEL_RESOURCE_ATTRIBUTES"); got != "demo.proxy.port="+want {
				t.Errorf("%s: OTEL_RESOURCE_ATTRIBUTES=%s, want the port %s", name, got, want)
			}
		}
	}
}

func TestTraceLinkOpensTheTraceInGrafana(t *testing.T) {
	moved, ports := composeVariant(t, "plain")
	for host, project := range map[string]*types.Project{
		"localhost:3000":                     compose.Project(t, nil),
		"localhost:" + ports["GRAFANA_PORT"]: moved,
	} {
		for _, name := range []string{"uservice3", "uservice4"} {
			pattern := compose.Variable(project.Services[name], "TRACE_LINK")
			if strings.Count(pattern, "{trace_id}") != 1 {
				t.Fatalf("%s: TRACE_LINK=%s has no {trace_id}, or several", name, pattern)
			}
			if strings.ContainsAny(pattern, " \"\n") {
				t.Errorf("%s: TRACE_LINK=%s is not percent-encoded", name, pattern)
			}
			const id = "0123456789abcdef0123456789abcdef"
			link, err := url.Parse(strings.Replace(pattern, "{trace_id}", id, 1))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if got := link.Scheme + "://" + link.Host + link.Path; got != "http://"+host+"/explore" {
				t.Errorf("%s: TRACE_LINK leads to %s, want http://%s/explore", name, got, host)
			}
			query := link.Query()
			if query.Get("schemaVersion") != "1" || query.Get("orgId") != "1" {
				t.Errorf("%s: TRACE_LINK has the query %v", name, query)
			}
			// Grafana 12 is known to keep the trace's id in exactly this form.
			const want = `{"aaa":{"datasource":"tempo","queries":[{"refId":"A","datasource":{"type":"tempo","uid":"tempo"},` +
				`"queryType":"traceql","query":"` + id + `"}],"range":{"from":"now-1h","to":"now"}}}`
			if got := query.Get("panes"); got != want || !json.Valid([]byte(got)) {
				t.Errorf("%s: the panes of TRACE_LINK are\n%s\nwant\n%s", name, got, want)
			}
		}
		if got, want := compose.Variable(project.Services["grafana"], "GF_SERVER_ROOT_URL"), "http://"+host+"/"; got != want {
			t.Errorf("GF_SERVER_ROOT_URL=%s, want %s", got, want)
		}
	}
}

func TestImagesArePinned(t *testing.T) {
	withEBPF(t, func(t *testing.T, stack string) {
		for name, service := range compose.Stack(t, stack, nil).Services {
			switch {
			case service.Build != nil:
				if service.Image != "" {
					t.Errorf("%s is built here and must not be pulled as %s", name, service.Image)
				}
			case !regexp.MustCompile(`:v?\d+\.\d+\.\d+$`).MatchString(service.Image):
				t.Errorf("%s: image %q has no full version", name, service.Image)
			}
		}
	})
}

func TestContainersAreContained(t *testing.T) {
	withEBPF(t, func(t *testing.T, stack string) {
		for name, service := range compose.Stack(t, stack, nil).Services {
			t.Run(name, func(t *testing.T) { checkContained(t, service) })
		}
	})
	project := compose.Project(t, nil)
	for _, name := range append(slices.Clone(repo.Services), "prober") {
		service, ok := project.Services[name]
		if !ok {
			t.Errorf("%s is missing", name)
			continue
		}
		if service.User != "65532:65532" {
			t.Errorf("%s runs as user %q, want that of its image, 65532:65532", name, service.User)
		}
		if service.Build == nil || filepath.Base(service.Build.Context) != name {
			t.Errorf("%s is not built from its own folder", name)
		}
		if len(service.Volumes)+len(service.Tmpfs) > 0 {
			t.Errorf("%s can write", name)
		}
	}
}

func checkContained(t *testing.T, service types.ServiceConfig) {
	t.Helper()
	may, watches := watchers[service.Name]
	if !slices.Equal(service.CapDrop, []string{"ALL"}) || !slices.Equal(service.CapAdd, may.rights) || service.Privileged {
		t.Errorf("capabilities: dropped %v, added %v, privileged %v", service.CapDrop, service.CapAdd, service.Privileged)
	}
	if !slices.Contains(service.SecurityOpt, "no-new-privileges:true") {
		t.Error("may gain privileges")
	}
	if service.PidsLimit <= 0 {
		t.Error("no limit on processes")
	}
	if service.NetworkMode != "" || service.Pid != may.pid || service.Ipc != "" || len(service.Devices) > 0 {
		t.Error("shares something with the host")
	}
	// Tempo flushes sooner, and then does not end by itself.
	if got := time.Duration(*service.StopGracePeriod); got != 25*time.Second && !strings.HasPrefix(service.Image, "grafana/tempo:") {
		t.Errorf("stop_grace_period is %v: ours take up to 20 s to answer and to flush", got)
	}
	// Grafana keeps the user and the file system of its image: nobody has tried others.
	if service.Name != "grafana" {
		if !service.ReadOnly {
			t.Error("is not read-only")
		}
		if uid, _, _ := strings.Cut(service.User, ":"); (uid == "" || uid == "0" || uid == "root") && !watches {
			t.Errorf("runs as user %q", service.User)
		}
	}
	checkMemory(t, service)
}

// checkMemory checks that GOMEMLIMIT is 70 to 95 percent of the memory limit without the folders that
// are in memory: with more the kernel kills the program before its garbage collector runs, with less
// memory is left unused.
func checkMemory(t *testing.T, service types.ServiceConfig) {
	t.Helper()
	// Java needs as much again besides its heap, and Kafka lives on the kernel's file cache.
	if heap := regexp.MustCompile(`-Xmx(\d+)m\b`).FindStringSubmatch(compose.Variable(service, "KAFKA_HEAP_OPTS")); heap != nil {
		if mebibytes, _ := strconv.ParseInt(heap[1], 10, 64); mebibytes<<20 > int64(service.MemLimit)/2 {
			t.Errorf("the heap may take %s MiB of %d", heap[1], service.MemLimit>>20)
		}
		return
	}
	mebibytes, ok := strings.CutSuffix(compose.Variable(service, "GOMEMLIMIT"), "MiB")
	soft, err := strconv.ParseInt(mebibytes, 10, 64)
	if !ok || err != nil {
		t.Errorf("GOMEMLIMIT=%q, want a whole number with MiB", compose.Variable(service, "GOMEMLIMIT"))
		return
	}
	rest := int64(service.MemLimit)
	for _, folder := range service.Tmpfs {
		size, err := units.RAMInBytes(folder[strings.LastIndex(folder, "size=")+len("size="):])
		if err != nil {
			t.Errorf("%s has no size: %v", folder, err)
		}
		rest -= size
	}
	if share := float64(soft<<20) / float64(rest); share < 0.70 || share > 0.95 {
		t.Errorf("GOMEMLIMIT is %.2f of mem_limit", share)
	}
}

// TestTheHostIsMountedReadOnlyFromConfAlone also keeps the Docker socket out.
func TestTheHostIsMountedReadOnlyFromConfAlone(t *testing.T) {
	conf, err := filepath.Abs(repo.Path("conf"))
	if err != nil {
		t.Fatal(err)
	}
	withEBPF(t, func(t *testing.T, stack string) {
		for name, service := range compose.Stack(t, stack, nil).Services {
			for _, volume := range service.Volumes {
				if volume.Type != types.VolumeTypeBind {
					continue
				}
				if !strings.HasPrefix(volume.Source, conf+string(filepath.Separator)) || !volume.ReadOnly {
					t.Errorf("%s mounts %s, read-only %v", name, volume.Source, volume.ReadOnly)
				}
				if volume.Bind == nil || volume.Bind.SELinux != "z" {
					t.Errorf("%s cannot read %s where SELinux is on: add z", name, volume.Source)
				}
				// Containers run as other users than the one who cloned the repository. Git stores no
				// permission but "executable", so this checks the working tree only.
				err := filepath.WalkDir(volume.Source, func(file string, entry os.DirEntry, err error) error {
					if err != nil {
						return err
					}
					info, err := entry.Info()
					if err != nil {
						return err
					}
					if want := map[bool]os.FileMode{false: 0o444, true: 0o555}[entry.IsDir()]; info.Mode()&want != want {
						t.Errorf("%s cannot be read by every user: chmod -R a+rX conf", file)
					}
					return nil
				})
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	})
}

func TestNothingIsReadyBeforeWhatItNeeds(t *testing.T) {
	eachStack(t, func(t *testing.T, stack string) {
		for name, service := range compose.Stack(t, stack, nil).Services {
			check := service.HealthCheck
			if check == nil || check.Disable || len(check.Test) < 2 || check.Test[0] != "CMD" {
				t.Errorf("%s has no health check that needs no shell", name)
				continue
			}
			// Compose refuses start_interval on Podman and on engines before Docker 25; a start_period
			// alone slows newer ones.
			if check.StartInterval != nil || check.StartPeriod != nil {
				t.Errorf("%s has a start_interval or a start_period", name)
			}
		}
	})
	project := compose.Project(t, nil)
	for _, name := range append(slices.Clone(repo.Services), "prober") {
		if got := project.Services[name].HealthCheck.Test; !slices.Equal(got, []string{"CMD", "/service", "-healthcheck"}) {
			t.Errorf("%s is checked with %v", name, got)
		}
	}
	// Traefik starts last: as soon as it answers, requests are traced completely.
	for name, want := range map[string][]string{
		"traefik":   {"tempo", "uservice1", "uservice2", "uservice3", "uservice4"},
		"uservice3": {"tempo"},
		"uservice4": {"tempo"},
		"prober":    {"tempo", "traefik"},
		"grafana":   {"loki", "prometheus", "tempo"},
	} {
		var got []string
		for on, dependency := range project.Services[name].DependsOn {
			if dependency.Condition == types.ServiceConditionHealthy {
				got = append(got, on)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s waits until %v are healthy, want %v", name, got, want)
		}
	}
	// Compose stops in the opposite order: a caller must stop before its callee, or requests in
	// flight fail.
	for _, name := range instrumented {
		if _, ok := project.Services[name].DependsOn["loki"]; !ok {
			t.Errorf("%s may outlive loki, and its last log lines with it", name)
		}
	}
	for caller, callee := range map[string]string{"uservice1": "uservice2", "uservice3": "uservice4"} {
		if _, ok := project.Services[caller].DependsOn[callee]; !ok {
			t.Errorf("%s may outlive %s, which it calls", caller, callee)
		}
		if got, want := compose.Variable(project.Services[caller], "UPSTREAM"), "http://"+callee+":7878"; got != want {
			t.Errorf("%s: UPSTREAM=%s, want %s", caller, got, want)
		}
	}
}

func TestAllTracersAgree(t *testing.T) {
	project := compose.Project(t, nil)
	for _, name := range append([]string{"traefik"}, instrumented...) {
		for _, key := range []string{"OTEL_PROPAGATORS", "OTEL_BSP_SCHEDULE_DELAY", "OTEL_BSP_MAX_QUEUE_SIZE",
			"OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "OTEL_BSP_EXPORT_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"} {
			got, want := compose.Variable(project.Services[name], key), compose.Variable(project.Services["uservice3"], key)
			if got == "" || got != want {
				t.Errorf("%s: %s=%s, want %q as uservice3 has it", name, key, got, want)
			}
		}
	}
	for _, name := range instrumented {
		if got := compose.Variable(project.Services[name], "OTEL_SERVICE_NAME"); got != name {
			t.Errorf("%s: OTEL_SERVICE_NAME=%s", name, got)
		}
	}
	for _, name := range []string{"uservice1", "uservice2"} {
		for key := range maps.Keys(project.Services[name].Environment) {
			if strings.HasPrefix(key, "OTEL_") || key == "TRACE_LINK" {
				t.Errorf("%s is not instrumented and has %s", name, key)
			}
		}
	}
}

// TestOneVariableTurnsTracingOff: with TRACING=false no service records or exports spans or passes
// headers on. Nothing else differs, so that no image has to be built again.
func TestOneVariableTurnsTracingOff(t *testing.T) {
	on, off := compose.Project(t, nil), compose.Project(t, map[string]string{"TRACING": "false"})
	for _, name := range instrumented {
		for key, want := range map[string]string{"OTEL_TRACES_EXPORTER": "none", "OTEL_TRACES_SAMPLER": "always_off", "OTEL_PROPAGATORS": "none"} {
			if got := compose.Variable(off.Services[name], key); got != want {
				t.Errorf("%s: %s=%s, want %s", name, key, got, want)
			}
		}
		for _, key := range []string{"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "OTEL_METRICS_EXPORTER"} {
			if compose.Variable(off.Services[name], key) == "" {
				t.Errorf("%s: logs and metrics do not go on: %s is empty", name, key)
			}
		}
	}
	if command := off.Services["traefik"].Command; !slices.Contains(command, "--tracing=false") {
		t.Errorf("Traefik is started with %v", command)
	}
	explicit, err := compose.Project(t, map[string]string{"TRACING": "true"}).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if usual, err := on.MarshalJSON(); err != nil || string(usual) != string(explicit) {
		t.Errorf("TRACING=true is not what there is without: %v", err)
	}
	for name, service := range on.Services {
		if service.Image != off.Services[name].Image || (service.Build == nil) != (off.Services[name].Build == nil) {
			t.Errorf("%s has another image", name)
		}
	}
}

// TestOneVariableLetsTheStackWatchItself: with SELF_TRACING=true Prometheus, Loki and Grafana send
// traces of their own.
func TestOneVariableLetsTheStackWatchItself(t *testing.T) {
	for value, want := range map[string]struct{ prometheus, loki, grafana, sampled string }{
		"":      {"/etc/prometheus/self-tracing-false.yaml", "-tracing.enabled=false", "", ""},
		"false": {"/etc/prometheus/self-tracing-false.yaml", "-tracing.enabled=false", "", ""},
		"true":  {"/etc/prometheus/self-tracing-true.yaml", "-tracing.enabled=true", "otlp:4317", "0.5"},
	} {
		t.Run(value, func(t *testing.T) {
			project := compose.Project(t, map[string]string{"SELF_TRACING": value})
			if command := project.Services["prometheus"].Command; !slices.Contains(command, "--config.file="+want.prometheus) {
				t.Errorf("Prometheus is started with %v", command)
			}
			if command := project.Services["loki"].Command; !slices.Contains(command, want.loki) {
				t.Errorf("Loki is started with %v", command)
			}
			grafana := project.Services["grafana"]
			if got := compose.Variable(grafana, "GF_TRACING_OPENTELEMETRY_OTLP_ADDRESS"); got != want.grafana {
				t.Errorf("Grafana sends its traces to %q, want %q", got, want.grafana)
			}
			if got := compose.Variable(grafana, "GF_TRACING_OPENTELEMETRY_SAMPLER_PARAM"); got != want.sampled {
				t.Errorf("Grafana samples %q, want %q", got, want.sampled)
			}
		})
	}
	if got := compose.Variable(compose.Project(t, nil).Services["loki"], "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"); got != "http://otlp:4317" {
		t.Errorf("Loki sends its traces to %q", got)
	}
}
