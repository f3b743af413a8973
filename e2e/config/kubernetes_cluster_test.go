package config

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"

	"example.com/grafana-tempo-go-demo/e2e/internal/kubernetes"
	"example.com/grafana-tempo-go-demo/e2e/internal/repo"
)

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
	eachCluster(t, func(t *testing.T, c kubernetes.Cluster, project *types.Project) {
		for _, found := range regexp.MustCompile(`kubectl -n (\S+)`).FindAllStringSubmatch(readme, -1) {
			if found[1] != c.Namespace.Name {
				t.Errorf("README.md names the namespace %s, there is %s", found[1], c.Namespace.Name)
			}
		}
		forwarded := map[string]bool{}
		for _, found := range regexp.MustCompile(`port-forward service/(\S+)((?: [\d:]+)+)`).FindAllStringSubmatch(readme, -1) {
			for _, port := range strings.Fields(found[2]) {
				local, remote, both := strings.Cut(port, ":")
				if !both {
					remote = local
				}
				if !hasPort(c, found[1], remote) {
					t.Errorf("README.md forwards port %s of the Service %s, which has none", remote, found[1])
				}
				for _, name := range behind(c, found[1]) {
					forwarded[local+":"+remote+" of "+name] = true
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
