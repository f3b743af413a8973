package config

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v3"

	"example.com/grafana-tempo-go-demo/e2e/internal/compose"
	"example.com/grafana-tempo-go-demo/e2e/internal/repo"
)

// watcher is what a container of the eBPF instrumentation may do and no other.
type watcher struct {
	pid    string   // the process namespace that it shares
	rights []string // its capabilities
}

// watchers are the one exception to how containers are contained, by name: deploy/compose/ebpf.yaml
// says what each right is for.
var watchers = map[string]watcher{
	"obi1": {"service:uservice1", []string{"SYS_ADMIN", "SYS_PTRACE", "DAC_READ_SEARCH"}},
	"obi2": {"service:uservice2", []string{"SYS_ADMIN", "SYS_PTRACE", "DAC_READ_SEARCH"}},
}

// TestNothingIsPublishedBeyondThisMachine reads the files as text too: after interpolation a fixed
// port looks like any other.
func TestNothingIsPublishedBeyondThisMachine(t *testing.T) {
	eachStack(t, func(t *testing.T, stack string) {
		project := compose.Stack(t, stack, nil)
		for name, service := range project.Services {
			for _, port := range service.Ports {
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
		for name, network := range project.Networks {
			if name != "default" || network.External || network.Driver != "" {
				t.Errorf("network %s leads elsewhere: %+v", name, network)
			}
		}
		for _, file := range compose.Stacks[stack] {
			var raw struct {
				Services map[string]struct{ Ports []string }
			}
			text := repo.Read(t, file)
			if err := yaml.Unmarshal(text, &raw); err != nil {
				t.Fatal(err)
			}
			published := 0
			for _, service := range raw.Services {
				published += len(service.Ports)
			}
			movable := regexp.MustCompile(`(?m)^ +- "127\.0\.0\.1:\$\{[A-Z0-9_]+_PORT:-[0-9]+\}:[0-9]+"$`).FindAll(text, -1)
			if len(movable) != published {
				t.Errorf("%s: %d of %d ports are written as \"127.0.0.1:${NAME_PORT:-default}:target\"", file, len(movable), published)
			}
		}
	})
}

// TestContainersShareNothingWithTheHost complements TestContainersAreContained and
// TestTheHostIsMountedReadOnlyFromConfAlone.
func TestContainersShareNothingWithTheHost(t *testing.T) {
	withEBPF(t, containersShareNothing)
}

func containersShareNothing(t *testing.T, stack string) {
	project := compose.Stack(t, stack, nil)
	conf, err := filepath.Abs(repo.Path("conf"))
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
				"process namespace": service.Pid != watchers[name].pid, "IPC namespace": service.Ipc != "", "host name": service.Uts != "",
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
				case types.VolumeTypeBind: // from conf/, see TestTheHostIsMountedReadOnlyFromConfAlone
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
				if info, err := os.Stat(repo.Path(folder + "/Dockerfile")); err != nil || info.IsDir() || len(service.Build.AdditionalContexts)+len(service.Build.Secrets)+len(service.Build.SSH) > 0 ||
					service.Build.Privileged || service.Build.Network != "" {
					t.Errorf("is built from more than its own folder: %+v", service.Build)
				}
			}
		})
	}
}

// TestAdministrationIsClosed is about what the products open by default or by a flag.
func TestAdministrationIsClosed(t *testing.T) {
	project := compose.Project(t, nil)
	prometheus := project.Services["prometheus"].Command
	if !slices.ContainsFunc(prometheus, func(flag string) bool {
		origin, ok := strings.CutPrefix(flag, "--web.cors.origin=")
		return ok && !strings.Contains(origin, "*")
	}) {
		// By default a page of any site may read the API, and write to it, from a browser on this
		// machine.
		t.Error(`Prometheus allows every origin: add - --web.cors.origin=http://localhost:${PROMETHEUS_PORT:-9090}`)
	}
	for _, flag := range prometheus {
		if strings.Contains(flag, "enable-admin-api") || strings.Contains(flag, "enable-lifecycle") {
			t.Errorf("Prometheus can be emptied or stopped over HTTP: %s", flag)
		}
	}
	for _, flag := range project.Services["traefik"].Command {
		// The dashboard has no login; its entry point is published on this machine only, and the
		// other has no route to it.
		if strings.Contains(flag, "insecure") && flag != "--api.insecure=true" && flag != "--tracing.otlp.grpc.insecure=true" {
			t.Errorf("Traefik: %s", flag)
		}
		if strings.HasPrefix(flag, "--entrypoints.") && !regexp.MustCompile(`^--entrypoints\.(web|traefik)\.`).MatchString(flag) {
			t.Errorf("Traefik has another entry point: %s", flag)
		}
	}
	for _, file := range repo.Files(t, "conf/traefik", "*.yaml") {
		if strings.Contains(string(repo.Read(t, "conf/traefik/"+file)), "@internal") {
			t.Errorf("conf/traefik/%s routes to Traefik's own API", file)
		}
	}
	grafana := project.Services["grafana"]
	for name, want := range map[string]string{"GF_AUTH_ANONYMOUS_ORG_ROLE": "Editor", "GF_AUTH_BASIC_ENABLED": "false", "GF_AUTH_DISABLE_LOGIN_FORM": "true"} {
		if got := compose.Variable(grafana, name); got != want {
			t.Errorf("Grafana: %s=%s, want %s", name, got, want)
		}
	}
	for name := range maps.Keys(grafana.Environment) {
		if strings.Contains(name, "PASSWORD") || name == "GF_SECURITY_ALLOW_EMBEDDING" || name == "GF_INSTALL_PLUGINS" {
			t.Errorf("Grafana: %s is set", name)
		}
	}
}
