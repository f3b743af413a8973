package config

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/docker/go-units"

	"example.com/grafana-tempo-go-demo/e2e/internal/compose"
	"example.com/grafana-tempo-go-demo/e2e/internal/kubernetes"
	"example.com/grafana-tempo-go-demo/e2e/internal/repo"
)

// watchers are the one exception to how containers are contained: by name, the service whose process
// namespace they share. deploy/compose/ebpf.yaml says what each right is for.
var watchers = map[string]string{"obi1": "uservice1", "obi2": "uservice2"}

var watchersRights = []string{"SYS_ADMIN", "SYS_PTRACE", "DAC_READ_SEARCH"}

func TestContainersAreContained(t *testing.T) {
	withEBPF(t, func(t *testing.T, stack string) {
		project := compose.Stack(t, stack, nil)
		for name, service := range project.Services {
			t.Run(name, func(t *testing.T) {
				checkRights(t, service)
				checkMemory(t, service)
				checkVolumes(t, project, service)
			})
		}
	})
}

// checkRights also keeps out what would take protection away, such as seccomp:unconfined.
func checkRights(t *testing.T, service types.ServiceConfig) {
	t.Helper()
	rights, pid := []string(nil), ""
	target, watches := watchers[service.Name]
	if watches {
		rights, pid = watchersRights, "service:"+target
	}
	if !slices.Equal(service.CapDrop, []string{"ALL"}) || !slices.Equal(service.CapAdd, rights) || service.Privileged {
		t.Errorf("capabilities: dropped %v, added %v, privileged %v", service.CapDrop, service.CapAdd, service.Privileged)
	}
	if !slices.Equal(service.SecurityOpt, []string{"no-new-privileges:true"}) {
		t.Errorf("security_opt is %v", service.SecurityOpt)
	}
	if uid, _, _ := strings.Cut(service.User, ":"); (uid == "" || uid == "0" || uid == "root") && !watches {
		t.Errorf("runs as user %q", service.User)
	}
	for what, wrong := range map[string]bool{
		"a writable file system": !service.ReadOnly, "no limit on processes": service.PidsLimit <= 0,
		"a process namespace": service.Pid != pid, "another namespace": service.Ipc+service.Uts+service.UserNSMode != "",
		"a control group": service.Cgroup+service.CgroupParent != "",
		"devices":         len(service.Devices)+len(service.DeviceCgroupRules)+len(service.Gpus) > 0,
		"kernel settings": len(service.Sysctls) > 0, "groups": len(service.GroupAdd) > 0,
		"another runtime":        service.Runtime != "",
		"a network of the host":  service.NetworkMode != "" || len(service.ExtraHosts)+len(service.ExternalLinks) > 0,
		"Docker's own socket":    service.UseAPISocket,
		"out-of-memory immunity": service.OomKillDisable || service.OomScoreAdj < 0,
		"secrets or configs, which belong into conf/, where they are seen": len(service.Secrets)+len(service.Configs) > 0,
	} {
		if wrong {
			t.Errorf("has %s", what)
		}
	}
	if build := service.Build; build == nil {
		if !regexp.MustCompile(`:v?\d+\.\d+\.\d+$`).MatchString(service.Image) {
			t.Errorf("image %q has no full version", service.Image)
		}
	} else if filepath.Base(build.Context) != service.Name || service.Image+build.Network != "" || build.Privileged ||
		len(build.AdditionalContexts)+len(build.Secrets)+len(build.SSH) > 0 {
		t.Errorf("is built from more than its own folder: %+v", build)
	}
}

// checkMemory checks that GOMEMLIMIT is 70 to 95 percent of the memory limit without the folders that
// are in memory: with more the kernel kills the program before its garbage collector runs, with less
// memory is left unused.
func checkMemory(t *testing.T, service types.ServiceConfig) {
	t.Helper()
	if compose.Variable(service, "KAFKA_HEAP_OPTS") != "" { // Java
		return
	}
	soft, err := units.RAMInBytes(compose.Variable(service, "GOMEMLIMIT"))
	if err != nil {
		t.Errorf("GOMEMLIMIT: %v", err)
	}
	rest := int64(service.MemLimit)
	for _, folder := range service.Tmpfs {
		size, err := units.RAMInBytes(folder[strings.LastIndex(folder, "size=")+len("size="):])
		if err != nil {
			t.Errorf("%s may fill the memory: give it a size: %v", folder, err)
		}
		rest -= size
	}
	if share := float64(soft) / float64(rest); share < 0.70 || share > 0.95 {
		t.Errorf("GOMEMLIMIT is %.2f of mem_limit", share)
	}
}

// checkVolumes checks that nothing of the host is mounted but conf/, read-only and readable by the
// users that containers run as. So the Docker socket stays out, too.
func checkVolumes(t *testing.T, project *types.Project, service types.ServiceConfig) {
	t.Helper()
	conf, err := filepath.Abs(repo.Path("conf"))
	if err != nil {
		t.Fatal(err)
	}
	inConf := func(path string) bool { return strings.HasPrefix(path, conf+string(filepath.Separator)) }
	for _, file := range service.EnvFiles {
		if !inConf(file.Path) {
			t.Errorf("reads the environment from %s", file.Path)
		}
	}
	if len(service.VolumesFrom) > 0 {
		t.Errorf("has the volumes of %v", service.VolumesFrom)
	}
	for _, volume := range service.Volumes {
		named, ok := project.Volumes[volume.Source]
		switch {
		case volume.Type == types.VolumeTypeBind && inConf(volume.Source) && volume.ReadOnly:
		case volume.Type == types.VolumeTypeVolume && ok && !bool(named.External) &&
			named.Driver == "" && len(named.DriverOpts) == 0:
			continue
		default:
			t.Errorf("mounts %s %s, read-only %t: %+v", volume.Type, volume.Source, volume.ReadOnly, named)
			continue
		}
		if volume.Bind == nil || volume.Bind.SELinux != "z" {
			t.Errorf("cannot read %s where SELinux is on: add z", volume.Source)
		}
		// Git stores no permission but "executable", so this checks the working tree only.
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
			t.Error(err)
		}
	}
}

// share reports whether two services are in one network.
func share(a, b types.ServiceConfig) bool {
	for name := range a.Networks {
		if _, ok := b.Networks[name]; ok {
			return true
		}
	}
	return false
}

// TestNetworksConnectWhoCalls: whatever Kubernetes' policies allow, compose's networks let through.
func TestNetworksConnectWhoCalls(t *testing.T) {
	eachCluster(t, func(t *testing.T, c kubernetes.Cluster, project *types.Project) {
		for _, from := range project.Services {
			for _, to := range project.Services {
				for _, port := range c.Workloads[workload(to)].Container().Ports {
					number := strconv.Itoa(int(port.ContainerPort))
					if allows(t, c, c.Workloads[workload(from)], c.Workloads[workload(to)], number) && !share(from, to) {
						t.Errorf("%s calls %s:%s and shares no network with it", from.Name, to.Name, number)
					}
				}
			}
		}
	})
}

func TestNetworksSeparateWhoDoesNotCall(t *testing.T) {
	backends := []string{"tempo", "loki", "prometheus", "grafana"}
	withEBPF(t, func(t *testing.T, stack string) {
		project := compose.Stack(t, stack, nil)
		for name, others := range map[string][]string{
			"uservice1": append([]string{"prober"}, backends...), "uservice2": append([]string{"prober"}, backends...),
			"grafana": append([]string{"traefik", "prober"}, repo.Services...),
		} {
			for _, other := range others {
				if share(project.Services[name], project.Services[other]) {
					t.Errorf("%s reaches %s", name, other)
				}
			}
		}
		for name, network := range project.Networks {
			if bool(network.External) || network.Driver != "" {
				t.Errorf("network %s leads elsewhere: %+v", name, network)
			}
		}
		// The prober needs nothing from outside, and who can change every process must not have it.
		for _, name := range []string{"prober", "obi1", "obi2"} {
			for network := range project.Services[name].Networks {
				if !project.Networks[network].Internal {
					t.Errorf("%s reaches the internet by the network %s", name, network)
				}
			}
		}
	})
}

// TestAdministrationIsClosed is about what the products open by default or by a flag, and about what
// they report to their makers.
func TestAdministrationIsClosed(t *testing.T) {
	project := compose.Project(t, nil)
	for name, flags := range map[string][]string{
		// By default a page of any site may read Prometheus' API, and write to it, from a browser here.
		"prometheus": {"--web.cors.origin=http://localhost:9090"},
		"traefik":    {"--global.checknewversion=false", "--global.sendanonymoususage=false"},
	} {
		for _, flag := range flags {
			if !slices.Contains(project.Services[name].Command, flag) {
				t.Errorf("%s is started without %s", name, flag)
			}
		}
	}
	for name, service := range project.Services {
		for _, flag := range service.Command {
			if regexp.MustCompile(`enable-admin-api|enable-lifecycle|^--providers\.(docker|swarm|rest)`).MatchString(flag) {
				t.Errorf("%s is started with %s", name, flag)
			}
		}
	}
	if strings.Contains(string(repo.Read(t, "conf/traefik/routes.yaml")), "@internal") {
		t.Error("a route leads to Traefik's own API")
	}
	for file, path := range map[string]string{
		"conf/tempo.yaml": "usage_report.reporting_enabled", "conf/scale/tempo.yaml": "usage_report.reporting_enabled",
		"conf/loki.yaml": "analytics.reporting_enabled",
	} {
		if got := leaves(t, file)[path]; got != "false" {
			t.Errorf("%s: %s is %q", file, path, got)
		}
	}
	grafana := project.Services["grafana"]
	for name, want := range map[string]string{
		"GF_AUTH_ANONYMOUS_ORG_ROLE": "Editor", "GF_AUTH_BASIC_ENABLED": "false", "GF_AUTH_DISABLE_LOGIN_FORM": "true",
		"GF_SERVER_DOMAIN": "localhost", "GF_SERVER_ENFORCE_DOMAIN": "true",
		"GF_ANALYTICS_REPORTING_ENABLED": "false", "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
		"GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false", "GF_NEWS_NEWS_FEED_ENABLED": "false",
		"GF_PLUGINS_PREINSTALL_DISABLED": "true", "GF_PLUGINS_PUBLIC_KEY_RETRIEVAL_DISABLED": "true",
		"GF_SECURITY_ALLOW_EMBEDDING": "", "GF_INSTALL_PLUGINS": "", "GF_SECURITY_ADMIN_PASSWORD": "",
	} {
		if got := compose.Variable(grafana, name); got != want {
			t.Errorf("Grafana: %s=%s, want %q", name, got, want)
		}
	}
}
