package config

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"

	"example.com/grafana-tempo-go-demo/e2e/internal/compose"
	"example.com/grafana-tempo-go-demo/e2e/internal/kubernetes"
	"example.com/grafana-tempo-go-demo/e2e/internal/repo"
)

// eachCluster calls f with what each overlay makes, and with the compose project that it equals.
func eachCluster(t *testing.T, f func(t *testing.T, c kubernetes.Cluster, project *types.Project)) {
	for overlay, stack := range kubernetes.Overlays {
		t.Run(overlay, func(t *testing.T) { f(t, kubernetes.Build(t, overlay), compose.Stack(t, stack, nil)) })
	}
}

// eachPod calls f with each workload and the service of the compose project that it equals.
func eachPod(t *testing.T, f func(*testing.T, kubernetes.Cluster, kubernetes.Workload, types.ServiceConfig)) {
	eachCluster(t, func(t *testing.T, c kubernetes.Cluster, project *types.Project) {
		for _, service := range project.Services {
			t.Run(service.Name, func(t *testing.T) {
				if w, ok := c.Workloads[workload(service)]; ok {
					f(t, c, w, service)
				} else {
					t.Errorf("there is no %s in deploy/kubernetes", workload(service))
				}
			})
		}
	})
}

// workload names what a service of compose is in Kubernetes, which numbers the pods itself where
// the host name has a number.
func workload(service types.ServiceConfig) string { return strings.TrimSuffix(service.Name, "-0") }

func TestKubernetesHasTheServicesOfCompose(t *testing.T) {
	eachCluster(t, func(t *testing.T, c kubernetes.Cluster, project *types.Project) {
		want := map[string]bool{}
		for _, service := range project.Services {
			want[workload(service)] = true
			w := c.Workloads[workload(service)]
			if w.Stateful && service.Hostname != "" && w.Name+"-0" != service.Hostname || !w.Stateful && service.Hostname != "" {
				t.Errorf("the first pod of %s does not have the name %s, as compose gives it", w.Name, service.Hostname)
			}
			for _, alias := range compose.Aliases(service) {
				if !slices.Contains(behind(c, alias), w.Name) {
					t.Errorf("the name %s does not lead to %s, with compose it does", alias, w.Name)
				}
			}
			if int(w.Replicas) != service.GetScale() {
				t.Errorf("%s runs %d times, with compose %d", w.Name, w.Replicas, service.GetScale())
			}
		}
		for name := range c.Workloads {
			if !want[name] {
				t.Errorf("compose has no %s", name)
			}
		}
	})
}

func TestKubernetesStartsWhatComposeStarts(t *testing.T) {
	eachPod(t, func(t *testing.T, c kubernetes.Cluster, w kubernetes.Workload, service types.ServiceConfig) {
		got, image := w.Container(), service.Image
		if service.Build != nil {
			// The name that compose gives what it builds. Without IfNotPresent, Kubernetes would
			// ask a registry for it.
			image = "grafana-tempo-go-demo-" + service.Name
			if got.ImagePullPolicy != corev1.PullIfNotPresent {
				t.Errorf("imagePullPolicy is %s", got.ImagePullPolicy)
			}
		}
		if got.Image != image {
			t.Errorf("the image is %s, with compose %s", got.Image, image)
		}
		if !slices.Equal(got.Command, service.Entrypoint) {
			t.Errorf("starts %q, with compose %q", got.Command, service.Entrypoint)
		}
		args, command := slices.Sorted(slices.Values(got.Args)), slices.Sorted(slices.Values(service.Command))
		if !slices.Equal(args, command) {
			t.Errorf("gets the arguments %q, with compose %q", args, command)
		}
		sameVariables(t, service.Name, c.Environment(t, w), service)
	})
}

// TestKubernetesReadsTheFilesOfConf: what compose mounts from conf/ is at the same path, and comes
// from a ConfigMap that was made of the same file.
func TestKubernetesReadsTheFilesOfConf(t *testing.T) {
	notMounted := map[string]string{
		"/etc/prometheus/alerts_test.yaml":       "Prometheus does not load it",
		"/etc/prometheus/self-tracing-true.yaml": "only SELF_TRACING=true chooses it",
	}
	eachPod(t, func(t *testing.T, c kubernetes.Cluster, w kubernetes.Workload, service types.ServiceConfig) {
		want := map[string]string{}
		for _, volume := range service.Volumes {
			if volume.Type != types.VolumeTypeBind {
				continue
			}
			err := filepath.WalkDir(volume.Source, func(file string, entry fs.DirEntry, err error) error {
				if err != nil || entry.IsDir() {
					return err
				}
				content, err := os.ReadFile(file)
				inside, _ := filepath.Rel(volume.Source, file)
				if target := path.Join(volume.Target, filepath.ToSlash(inside)); notMounted[target] == "" {
					want[target] = string(content)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		got := c.Files(t, w)
		for name := range want {
			if text, ok := got[name]; !ok {
				t.Errorf("%s is not mounted: give its file a line in conf/kustomization.yaml, and the pod a volume", name)
			} else if text != want[name] {
				t.Errorf("%s is not the file of conf/", name)
			}
		}
		for name := range got {
			if _, ok := want[name]; !ok {
				t.Errorf("%s is mounted, with compose it is not", name)
			}
		}
	})
}

func TestKubernetesLimitsAreThoseOfCompose(t *testing.T) {
	eachPod(t, func(t *testing.T, _ kubernetes.Cluster, w kubernetes.Workload, service types.ServiceConfig) {
		spec, main := w.Template.Spec, w.Container()
		limits, requests := main.Resources.Limits, main.Resources.Requests
		limit, request, cpu := limits.Memory().Value(), requests.Memory().Value(), requests.Cpu()
		if limit != int64(service.MemLimit) || request <= 0 || request > limit || cpu.IsZero() {
			t.Errorf("memory: requested %d, limit %d, with compose %d; CPU: requested %s", request, limit, service.MemLimit, cpu)
		}
		grace := 30 * time.Second // Kubernetes' default
		if seconds := spec.TerminationGracePeriodSeconds; seconds != nil {
			grace = time.Duration(*seconds) * time.Second
		}
		if main.Lifecycle != nil {
			grace -= time.Duration(main.Lifecycle.PreStop.Sleep.Seconds) * time.Second
		}
		if grace < time.Duration(*service.StopGracePeriod) {
			t.Errorf("has %s to stop, with compose %s", grace, *service.StopGracePeriod)
		}
		user := ""
		if id, group := main.SecurityContext.RunAsUser, main.SecurityContext.RunAsGroup; id != nil && group != nil {
			user = fmt.Sprintf("%d:%d", *id, *group)
		}
		if user != service.User {
			t.Errorf("runs as %q, with compose as %q", user, service.User)
		}
		readOnly := main.SecurityContext.ReadOnlyRootFilesystem != nil && *main.SecurityContext.ReadOnlyRootFilesystem
		if want := service.ReadOnly && !startsEmpty(w); readOnly != want {
			t.Errorf("read-only is %t, want %t", readOnly, want)
		}
		got, want := writable(w), map[string]bool{}
		for _, volume := range service.Volumes {
			if volume.Type == types.VolumeTypeVolume {
				want[volume.Target] = true
			}
		}
		for _, tmpfs := range service.Tmpfs {
			folder, _, _ := strings.Cut(tmpfs, ":")
			want[folder] = !startsEmpty(w)
		}
		maps.DeleteFunc(want, func(_ string, wanted bool) bool { return !wanted })
		if !maps.Equal(got, want) {
			t.Errorf("may write to %v, with compose to %v", got, want)
		}
	})
}

// startsEmpty tells the live-stores, whose folder must not outlive their container, so that they write
// to the container itself: see deploy/kubernetes/scale/kustomization.yaml.
func startsEmpty(w kubernetes.Workload) bool {
	return slices.Contains(w.Container().Args, "-target=live-store")
}

// writable returns the folders that a workload writes to.
func writable(w kubernetes.Workload) map[string]bool {
	volumes, folders := map[string]bool{}, map[string]bool{}
	for _, claim := range w.Claims {
		volumes[claim.Name] = true
	}
	for _, volume := range w.Template.Spec.Volumes {
		volumes[volume.Name] = volume.EmptyDir != nil && volume.EmptyDir.SizeLimit != nil
	}
	for _, mount := range w.Container().VolumeMounts {
		if volumes[mount.Name] {
			folders[mount.MountPath] = true
		}
	}
	return folders
}

// TestKubernetesRefusesNoPod asks the code that the API server asks.
func TestKubernetesRefusesNoPod(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	eachCluster(t, func(t *testing.T, c kubernetes.Cluster, _ *types.Project) {
		if got := c.Namespace.Labels[api.EnforceLevelLabel]; got != string(api.LevelRestricted) {
			t.Errorf("the namespace enforces %q", got)
		}
		for name, w := range c.Workloads {
			result := policy.AggregateCheckResults(evaluator.EvaluatePod(restricted, &w.Template.ObjectMeta, &w.Template.Spec))
			if !result.Allowed {
				t.Errorf("%s: %s", name, result.ForbiddenDetail())
			}
			for what, set := range map[string]*bool{
				"a token for the API server":  w.Template.Spec.AutomountServiceAccountToken,
				"variables of other Services": w.Template.Spec.EnableServiceLinks,
			} {
				if set == nil || *set {
					t.Errorf("%s gets %s", name, what)
				}
			}
		}
	})
}

// TestKubernetesReadmeFollowsTheManifests: its commands load the images that compose builds, and
// forward what compose publishes, to the same ports.
func TestKubernetesReadmeFollowsTheManifests(t *testing.T) {
	readme := strings.ReplaceAll(string(repo.Read(t, "deploy/kubernetes/README.md")), "\\\n", "")
	forward := regexp.MustCompile(`kubectl -n tempo-demo port-forward service/(\S+)((?: [\d:]+)+)`)
	eachCluster(t, func(t *testing.T, c kubernetes.Cluster, project *types.Project) {
		forwarded := map[string]bool{}
		for _, found := range forward.FindAllStringSubmatch(readme, -1) {
			for _, port := range strings.Fields(found[2]) {
				local, remote, both := strings.Cut(port, ":")
				if !both {
					remote = local
				}
				for _, name := range behind(c, found[1]) {
					forwarded[local+":"+remote+" of "+name] = hasPort(c, found[1], remote)
				}
			}
		}
		for _, service := range project.Services {
			if service.Build != nil && !strings.Contains(readme, " "+c.Workloads[service.Name].Container().Image) {
				t.Errorf("README.md does not load the image of %s", service.Name)
			}
			for _, port := range service.Ports {
				forwards := fmt.Sprintf("%s:%d of %s", port.Published, port.Target, workload(service))
				if service.Build == nil && !forwarded[forwards] {
					t.Errorf("README.md does not forward %s, as compose publishes it", forwards)
				}
			}
		}
	})
}
