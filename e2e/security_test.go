package e2e

import (
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
)

// TestNothingIsPublishedBeyondThisMachine reads docker-compose.yaml as text too: once interpolated, a port that cannot be
// moved looks like any other.
func TestNothingIsPublishedBeyondThisMachine(t *testing.T) {
	published := 0
	for name, service := range composeProject(t, nil).Services {
		for _, port := range service.Ports {
			published++
			if port.HostIP != "127.0.0.1" || port.Mode != "ingress" && port.Mode != "" {
				t.Errorf("%s publishes %d on %q", name, port.Target, port.HostIP)
			}
			if port.Target < 1024 {
				t.Errorf("%s listens on %d, which takes root's rights in some engines", name, port.Target)
			}
		}
		if service.NetworkMode != "" && service.NetworkMode != "default" || len(service.Networks) > 1 || len(service.ExtraHosts)+len(service.ExternalLinks) > 0 {
			t.Errorf("%s has a network of its own: mode %q, networks %v, hosts %v", name, service.NetworkMode, service.Networks, service.ExtraHosts)
		}
	}
	movable := regexp.MustCompile(`(?m)^ +- "127\.0\.0\.1:\$\{[A-Z0-9_]+_PORT:-[0-9]+\}:[0-9]+"$`).FindAll(read(t, "docker-compose.yaml"), -1)
	if len(movable) != published {
		t.Errorf("%d of %d ports are written as \"127.0.0.1:${NAME_PORT:-default}:target\"", len(movable), published)
	}
	for name, network := range composeProject(t, nil).Networks {
		if name != "default" || network.External || network.Driver != "" {
			t.Errorf("network %s leads elsewhere: %+v", name, network)
		}
	}
}

// TestContainersShareNothingWithTheHost complements TestContainersAreContained and the test of mounts from conf/.
func TestContainersShareNothingWithTheHost(t *testing.T) {
	project := composeProject(t, nil)
	conf, err := filepath.Abs(path("conf"))
	if err != nil {
		t.Fatal(err)
	}
	for name, service := range project.Services {
		t.Run(name, func(t *testing.T) {
			// Anything more, such as seccomp:unconfined or label:disable, takes protection away.
			if !slices.Equal(service.SecurityOpt, []string{"no-new-privileges:true"}) {
				t.Errorf("security_opt is %v", service.SecurityOpt)
			}
			for what, shared := range map[string]bool{
				"process namespace": service.Pid != "", "IPC namespace": service.Ipc != "", "host name": service.Uts != "",
				"user namespace": service.UserNSMode != "", "control group": service.Cgroup != "" || service.CgroupParent != "",
				"devices": len(service.Devices)+len(service.DeviceCgroupRules)+len(service.Gpus) > 0, "kernel settings": len(service.Sysctls) > 0,
				"another container's volumes": len(service.VolumesFrom) > 0, "groups": len(service.GroupAdd) > 0,
				"Docker's own socket": service.UseAPISocket, "another runtime": service.Runtime != "", "out-of-memory immunity": service.OomKillDisable || service.OomScoreAdj < 0,
			} {
				if shared {
					t.Errorf("has %s", what)
				}
			}
			if service.MemLimit <= 0 || service.PidsLimit <= 0 {
				t.Errorf("memory limit %d, processes %d", service.MemLimit, service.PidsLimit)
			}
			for _, volume := range service.Volumes {
				if strings.HasSuffix(volume.Source, ".sock") || strings.HasSuffix(volume.Target, ".sock") {
					t.Errorf("mounts the socket %s", volume.Source)
				}
				switch volume.Type {
				case types.VolumeTypeBind: // from conf/, as another test holds
				case types.VolumeTypeVolume:
					if named, ok := project.Volumes[volume.Source]; !ok || bool(named.External) || named.Driver != "" || len(named.DriverOpts) > 0 {
						t.Errorf("volume %q may be a folder of the host: %+v", volume.Source, named)
					}
				case types.VolumeTypeTmpfs:
					if volume.Tmpfs == nil || volume.Tmpfs.Size <= 0 {
						t.Errorf("tmpfs %s may fill the memory: give it a size", volume.Target)
					}
				default:
					t.Errorf("mounts a %s", volume.Type)
				}
			}
			for _, tmpfs := range service.Tmpfs {
				if !strings.Contains(tmpfs, "size=") {
					t.Errorf("tmpfs %s may fill the memory: give it a size", tmpfs)
				}
			}
			for _, file := range service.EnvFiles {
				if !strings.HasPrefix(file.Path, conf+string(filepath.Separator)) {
					t.Errorf("reads the environment from %s", file.Path)
				}
			}
			if len(service.Secrets)+len(service.Configs) > 0 {
				t.Error("mounts secrets or configs: put it into conf/, where it is seen")
			}
			if service.Build != nil {
				folder := filepath.Base(service.Build.Context)
				if info, err := os.Stat(path(folder + "/Dockerfile")); err != nil || info.IsDir() || len(service.Build.AdditionalContexts)+len(service.Build.Secrets)+len(service.Build.SSH) > 0 ||
					service.Build.Privileged || service.Build.Network != "" {
					t.Errorf("is built from more than its own folder: %+v", service.Build)
				}
			}
		})
	}
}

// TestAdministrationIsClosed is about what the products open unless told otherwise, or when told to.
func TestAdministrationIsClosed(t *testing.T) {
	project := composeProject(t, nil)
	prometheus := project.Services["prometheus"].Command
	if !slices.ContainsFunc(prometheus, func(flag string) bool {
		origin, ok := strings.CutPrefix(flag, "--web.cors.origin=")
		return ok && !strings.Contains(origin, "*")
	}) {
		// Its default lets the page of any site read the API, and write to it, from a browser on this machine.
		t.Error(`Prometheus allows every origin: add - --web.cors.origin=http://localhost:${PROMETHEUS_PORT:-9090}`)
	}
	for _, flag := range prometheus {
		if strings.Contains(flag, "enable-admin-api") || strings.Contains(flag, "enable-lifecycle") {
			t.Errorf("Prometheus can be emptied or stopped over HTTP: %s", flag)
		}
	}
	for _, flag := range project.Services["traefik"].Command {
		// The dashboard has no login; its entry point is published on this machine alone, and has no route from the other.
		if strings.Contains(flag, "insecure") && flag != "--api.insecure=true" && flag != "--tracing.otlp.grpc.insecure=true" {
			t.Errorf("Traefik: %s", flag)
		}
		if strings.HasPrefix(flag, "--entrypoints.") && !regexp.MustCompile(`^--entrypoints\.(web|traefik)\.`).MatchString(flag) {
			t.Errorf("Traefik has another entry point: %s", flag)
		}
	}
	for _, file := range files(t, "conf/traefik", "*.yaml") {
		if strings.Contains(string(read(t, "conf/traefik/"+file)), "@internal") {
			t.Errorf("conf/traefik/%s routes to Traefik's own API", file)
		}
	}
	grafana := project.Services["grafana"]
	for name, want := range map[string]string{"GF_AUTH_ANONYMOUS_ORG_ROLE": "Editor", "GF_AUTH_BASIC_ENABLED": "false", "GF_AUTH_DISABLE_LOGIN_FORM": "true"} {
		if got := variable(grafana, name); got != want {
			t.Errorf("Grafana: %s=%s, want %s", name, got, want)
		}
	}
	for name := range maps.Keys(grafana.Environment) {
		if strings.Contains(name, "PASSWORD") || name == "GF_SECURITY_ALLOW_EMBEDDING" || name == "GF_INSTALL_PLUGINS" {
			t.Errorf("Grafana: %s is set", name)
		}
	}
}

// TestOtherSitesPagesAreKeptOut asks every HTTP server of the no-Docker run what a page of another site, open in a browser
// on this machine, would ask it.
func TestOtherSitesPagesAreKeptOut(t *testing.T) {
	stack := theStack(t)
	if started == nil {
		t.Skip("a stack that is up already has servers of other products; this is about ours")
	}
	servers := map[string]string{"gateway": started.Gateway, "explorer": started.Explorer, "tempo": started.Tempo, "otlp-http": started.OTLPHTTP}
	maps.Copy(servers, started.Services)
	if len(servers) < 8 {
		t.Fatalf("the demo told of %v", servers)
	}
	ask := func(method, address, host, contentType string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		if host != "" {
			req.Host = host
		}
		for name, value := range map[string]string{
			"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site", "Content-Type": contentType, "Accept": "text/html",
			"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type", "Access-Control-Request-Private-Network": "true",
		} {
			req.Header.Set(name, value)
		}
		res, err := stack.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
		res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		for name := range res.Header {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s %s answers %s: %s", method, address, name, res.Header.Get(name))
			}
		}
		if strings.Contains(string(body), "evil<") || len(body) > 16<<10 {
			t.Errorf("%s %s answers %s", method, address, body)
		}
		return res
	}
	for name, address := range servers {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if ip := net.ParseIP(u.Hostname()); ip == nil || !ip.IsLoopback() {
			t.Errorf("%s listens on %s", name, address)
		}
		paths := map[string]string{"otlp-http": "/v1/traces", "tempo": "/api/search", "explorer": "/api/call"}
		target := address + paths[name]
		// A form, a script's request and the question before one: none may change anything, nor be told that it may.
		for _, contentType := range []string{"text/plain", "application/json"} {
			if res := ask(http.MethodPost, target, "", contentType); res.StatusCode < 400 {
				t.Errorf("%s takes %s of another site: %s", name, contentType, res.Status)
			}
		}
		ask(http.MethodOptions, target, "", "")
		ask(http.MethodGet, target, "", "")
		// A name that somebody else's name server binds to 127.0.0.1. The services answer to every name, by design: they
		// stand behind the proxy, and have nothing that their caller did not bring.
		want := map[string]int{"gateway": http.StatusNotFound, "explorer": http.StatusMisdirectedRequest, "tempo": http.StatusMisdirectedRequest, "otlp-http": http.StatusMisdirectedRequest}
		if status := want[name]; status != 0 {
			if res := ask(http.MethodGet, address+"/ready", net.JoinHostPort("evil.example", u.Port()), ""); res.StatusCode != status {
				t.Errorf("%s answers to evil.example: %s, want %s", name, res.Status, strconv.Itoa(status))
			}
		}
	}
}
