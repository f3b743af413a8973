// Package kubernetes builds the manifests in deploy/kubernetes as kubectl apply -k does.
package kubernetes

import (
	"maps"
	"path"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"example.com/grafana-tempo-go-demo/e2e/internal/repo"
)

// Overlays are the folders in deploy/kubernetes that kubectl applies, and the compose stack that
// each equals. EBPF is a further one, as for compose.
var Overlays = map[string]string{"small": "plain", "scale": "scale"}

// Cluster is what an overlay makes, by name.
type Cluster struct {
	Namespace  corev1.Namespace
	Workloads  map[string]Workload
	Services   map[string]corev1.Service
	ConfigMaps map[string]corev1.ConfigMap
	Policies   map[string]networkingv1.NetworkPolicy
}

// EBPF is the overlay with a second container in the pods of uservice1 and uservice2.
const EBPF = "ebpf"

// Workload is a Deployment or a StatefulSet. Its pods have one container, and one that watches it
// in EBPF.
type Workload struct {
	Name     string
	Stateful bool // its pods have names that stay, ending in -0, -1, ...
	Replicas int32
	Template corev1.PodTemplateSpec
	Claims   []corev1.PersistentVolumeClaim
}

// Container returns the pods' container that does their work.
func (w Workload) Container() corev1.Container { return w.Template.Spec.Containers[0] }

// built are the overlays that a test has asked for.
var built = map[string]Cluster{}

// Build builds an overlay. A field that Kubernetes does not know is an error, as is a kind that
// this package does not.
func Build(t *testing.T, overlay string) Cluster {
	t.Helper()
	if c, ok := built[overlay]; ok {
		return c
	}
	kustomizer := krusty.MakeKustomizer(krusty.MakeDefaultOptions())
	made, err := kustomizer.Run(filesys.MakeFsOnDisk(), repo.Path("deploy/kubernetes/"+overlay))
	if err != nil {
		t.Fatal(err)
	}
	c := Cluster{Workloads: map[string]Workload{}, Services: map[string]corev1.Service{}, ConfigMaps: map[string]corev1.ConfigMap{},
		Policies: map[string]networkingv1.NetworkPolicy{}}
	for _, object := range made.Resources() {
		name := object.GetName()
		switch kind := object.GetKind(); kind {
		case "Namespace":
			c.Namespace = decode[corev1.Namespace](t, object)
		case "Deployment":
			d := decode[appsv1.Deployment](t, object)
			c.add(t, Workload{name, false, replicas(d.Spec.Replicas), d.Spec.Template, nil})
		case "StatefulSet":
			s := decode[appsv1.StatefulSet](t, object)
			c.add(t, Workload{name, true, replicas(s.Spec.Replicas), s.Spec.Template, s.Spec.VolumeClaimTemplates})
		case "Service":
			c.Services[name] = decode[corev1.Service](t, object)
		case "ConfigMap":
			c.ConfigMaps[name] = decode[corev1.ConfigMap](t, object)
		case "NetworkPolicy":
			c.Policies[name] = decode[networkingv1.NetworkPolicy](t, object)
		case "PodDisruptionBudget":
		default:
			t.Errorf("%s %s: no test looks at this kind", kind, name)
		}
	}
	built[overlay] = c
	return c
}

func (c Cluster) add(t *testing.T, w Workload) {
	t.Helper()
	spec := w.Template.Spec
	watched := len(spec.Containers) == 2 && spec.Containers[1].Name == "obi"
	if len(spec.InitContainers) > 0 || len(spec.Containers) != 1 && !watched {
		t.Fatalf("%s has more containers than the tests look at", w.Name)
	}
	c.Workloads[w.Name] = w
}

func decode[T any](t *testing.T, object *resource.Resource) (v T) {
	t.Helper()
	text, err := object.AsYAML()
	if err == nil {
		err = yaml.UnmarshalStrict(text, &v)
	}
	if err != nil {
		t.Fatalf("%s %s: %v", object.GetKind(), object.GetName(), err)
	}
	return v
}

func replicas(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}

// Environment returns the variables of a workload's container.
func (c Cluster) Environment(t *testing.T, w Workload) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, source := range w.Container().EnvFrom {
		maps.Copy(all, c.configMap(t, w, source.ConfigMapRef.Name).Data)
	}
	for _, variable := range w.Container().Env {
		if variable.ValueFrom != nil {
			t.Errorf("%s: %s is not a plain value", w.Name, variable.Name)
		}
		all[variable.Name] = variable.Value
	}
	return all
}

func (c Cluster) configMap(t *testing.T, w Workload, name string) corev1.ConfigMap {
	t.Helper()
	found, ok := c.ConfigMaps[name]
	if !ok {
		t.Fatalf("%s reads the ConfigMap %s, which there is not", w.Name, name)
	}
	return found
}

// Files returns the files that a workload's container has from ConfigMaps, by their path in it.
func (c Cluster) Files(t *testing.T, w Workload) map[string]string {
	t.Helper()
	volumes := map[string]map[string]string{}
	for _, volume := range w.Template.Spec.Volumes {
		files := map[string]string{}
		add := func(configMap string) { maps.Copy(files, c.configMap(t, w, configMap).Data) }
		switch {
		case volume.ConfigMap != nil:
			add(volume.ConfigMap.Name)
		case volume.Projected != nil:
			for _, source := range volume.Projected.Sources {
				add(source.ConfigMap.Name)
			}
		}
		volumes[volume.Name] = files
	}
	all := map[string]string{}
	for _, mount := range w.Container().VolumeMounts {
		for name, content := range volumes[mount.Name] {
			switch mount.SubPath {
			case "":
				all[path.Join(mount.MountPath, name)] = content
			case name:
				all[mount.MountPath] = content
			}
		}
	}
	return all
}
