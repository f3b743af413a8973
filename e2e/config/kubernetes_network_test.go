package config

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"example.com/grafana-tempo-go-demo/e2e/internal/kubernetes"
)

// TestPoliciesAllowWhatIsNeededAndNothingMore: a pod needs the addresses that its arguments, its
// variables and its files name.
func TestPoliciesAllowWhatIsNeededAndNothingMore(t *testing.T) {
	eachCluster(t, func(t *testing.T, c kubernetes.Cluster, _ *types.Project) {
		need := map[string]bool{}
		ports := map[string]bool{}
		for _, w := range c.Workloads {
			for _, port := range w.Container().Ports {
				ports[strconv.Itoa(int(port.ContainerPort))] = true
			}
			for _, address := range unwritten[w.Name] {
				need[w.Name+" calls "+address] = true
			}
			for _, address := range addresses(t, c, w) {
				host, port, _ := strings.Cut(address, ":")
				if !hasPort(c, host, port) {
					t.Errorf("%s calls %s, and the Service %s has no such port", w.Name, address, host)
				}
				for _, to := range behind(c, host) {
					if to != w.Name {
						need[w.Name+" calls "+to+":"+port], ports[port] = true, true
					}
				}
			}
		}
		for _, to := range c.Workloads {
			for _, from := range c.Workloads {
				for port := range ports {
					name := from.Name + " calls " + to.Name + ":" + port
					if allowed := from.Name != to.Name && allows(t, c, from, to, port); allowed && !need[name] {
						t.Errorf("nobody needs what the policies allow: %s", name)
					} else if !allowed && need[name] {
						t.Errorf("the policies forbid: %s", name)
					}
				}
			}
		}
	})
}

func hasPort(c kubernetes.Cluster, service, port string) bool {
	return slices.ContainsFunc(c.Services[service].Spec.Ports, func(p corev1.ServicePort) bool {
		return strconv.Itoa(int(p.Port)) == port
	})
}

// behind returns the workloads that answer for a Service.
func behind(c kubernetes.Cluster, service string) (names []string) {
	selector := labels.SelectorFromSet(c.Services[service].Spec.Selector)
	for name, w := range c.Workloads {
		has := labels.Set(maps.Clone(w.Template.Labels))
		if w.Stateful {
			has["statefulset.kubernetes.io/pod-name"] = name + "-0" // which Kubernetes adds
		}
		if !selector.Empty() && selector.Matches(has) {
			names = append(names, name)
		}
	}
	return names
}

var (
	comments       = regexp.MustCompile(`(?m)(^|\s)#.*$`)
	serviceAddress = regexp.MustCompile(`\b([a-z][a-z0-9-]*):(\d{2,5})\b`)
	// discovered matches what Prometheus finds by name.
	discovered = regexp.MustCompile(`names: \[([a-z-]+)\],?\s+type: A,?\s+port: (\d+)`)
)

// Tempo's parts read the same file, and each uses some of its addresses, by -target.
var usedByPart = map[string][]string{
	"query-frontend":    {"s3:7070"},
	"querier":           {"s3:7070", "tempo:9095"},
	"distributor":       {"kafka:9092"},
	"live-store":        {"kafka:9092"},
	"metrics-generator": {"kafka:9092", "prometheus:9090"},
	"block-builder":     {"kafka:9092", "s3:7070"},
	"backend-scheduler": {"s3:7070"},
	"backend-worker":    {"s3:7070", "backend-scheduler:9095"},
}

// unwritten are calls to pods whose addresses no file has: live-stores are found by gossip,
// collectors by their name, on the port that is OTLP's.
var unwritten = map[string][]string{
	"querier":            {"live-store-zone-a:9095", "live-store-zone-b:9095"},
	"collector-balancer": {"collector:4317"},
}

// addresses returns host:port of all Services that a workload's arguments, variables and files
// name.
func addresses(t *testing.T, c kubernetes.Cluster, w kubernetes.Workload) []string {
	t.Helper()
	texts := slices.Clone(w.Container().Args)
	environment := c.Environment(t, w)
	if slices.Contains(texts, "-tracing.enabled=false") {
		delete(environment, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") // Loki's, for SELF_TRACING=true
	}
	texts = slices.AppendSeq(texts, maps.Values(environment))
	for _, text := range c.Files(t, w) {
		texts = append(texts, discovered.ReplaceAllString(comments.ReplaceAllString(text, ""), "$1:$2"))
	}
	found := map[string]bool{}
	for _, text := range texts {
		for _, match := range serviceAddress.FindAllStringSubmatch(text, -1) {
			if _, ok := c.Services[match[1]]; ok {
				found[match[0]] = true
			}
		}
	}
	for _, arg := range w.Container().Args {
		target, _ := strings.CutPrefix(arg, "-target=")
		if used, ok := usedByPart[target]; ok {
			return append(used, "gossip:7946")
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// allows reports whether the policies let from call a port of to.
func allows(t *testing.T, c kubernetes.Cluster, from, to kubernetes.Workload, port string) bool {
	t.Helper()
	open := true // to whom no policy applies, everybody may call
	for _, policy := range c.Policies {
		if !selects(t, &policy.Spec.PodSelector, to) {
			continue
		}
		open = false
		for _, rule := range policy.Spec.Ingress {
			peer := slices.ContainsFunc(rule.From, func(p networkingv1.NetworkPolicyPeer) bool {
				return p.NamespaceSelector == nil && p.IPBlock == nil && selects(t, p.PodSelector, from)
			})
			isPort := func(p networkingv1.NetworkPolicyPort) bool { return p.Port.String() == port }
			if peer && slices.ContainsFunc(rule.Ports, isPort) {
				return true
			}
		}
	}
	return open
}

func selects(t *testing.T, selector *metav1.LabelSelector, w kubernetes.Workload) bool {
	t.Helper()
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	return s.Matches(labels.Set(w.Template.Labels))
}

// TestNothingLeavesTheNamespace but questions for names.
func TestNothingLeavesTheNamespace(t *testing.T) {
	eachCluster(t, func(t *testing.T, c kubernetes.Cluster, _ *types.Project) {
		all := c.Policies["default"].Spec
		if len(all.PodSelector.MatchLabels) > 0 || !slices.Contains(all.PolicyTypes, networkingv1.PolicyTypeEgress) {
			t.Errorf("what no policy names is not forbidden: %+v", all)
		}
		for name, policy := range c.Policies {
			for _, rule := range policy.Spec.Egress {
				inside := len(rule.To) == 1 && rule.To[0].NamespaceSelector == nil && rule.To[0].PodSelector != nil
				other := func(p networkingv1.NetworkPolicyPort) bool { return p.Port.IntVal != 53 }
				if names := len(rule.Ports) > 0 && !slices.ContainsFunc(rule.Ports, other); !inside && !names {
					t.Errorf("%s lets pods call %+v", name, rule)
				}
			}
		}
	})
}
