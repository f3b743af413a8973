package config

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"example.com/grafana-tempo-go-demo/e2e/internal/kubernetes"
	"example.com/grafana-tempo-go-demo/e2e/internal/repo"
	"example.com/grafana-tempo-go-demo/e2e/internal/testbed"
)

// TestAPIServerTakesTheManifests asks a real API server whether it would take each overlay. Its
// programs are in the folder KUBEBUILDER_ASSETS, as setup-envtest of controller-runtime leaves
// them, or in PATH.
func TestAPIServerTakesTheManifests(t *testing.T) {
	programs := map[string]string{}
	for _, name := range []string{"etcd", "kube-apiserver", "kubectl"} {
		found, err := exec.LookPath(filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), name))
		if err != nil {
			t.Skipf("no API server judges the manifests: %v (KUBEBUILDER_ASSETS=%q)", err, os.Getenv("KUBEBUILDER_ASSETS"))
		}
		programs[name] = found
	}
	kubectl := startAPIServer(t, programs)
	// A dry run makes no namespace for the rest to be in, and without one nobody warns of its pods.
	kubectl(t, "apply", "--server-side", "-f", repo.Path("deploy/kubernetes/base/namespace.yaml"))
	takes := func(overlay string) {
		t.Run(overlay, func(t *testing.T) {
			out := kubectl(t, "apply", "-k", repo.Path("deploy/kubernetes/"+overlay), "--server-side", "--dry-run=server")
			t.Logf("the API server takes %d objects", strings.Count(out, "\n"))
		})
	}
	for overlay := range kubernetes.Overlays {
		takes(overlay)
	}
	labels := kubernetes.Build(t, kubernetes.EBPF).Namespace.Labels
	for _, name := range []string{"pod-security.kubernetes.io/enforce", "pod-security.kubernetes.io/warn"} {
		kubectl(t, "label", "--overwrite", "namespace", "tempo-demo", name+"="+labels[name])
	}
	takes(kubernetes.EBPF)
}

// startAPIServer starts etcd and an API server with Kubernetes' own admission. What it returns runs
// kubectl, which must neither fail nor warn.
func startAPIServer(t *testing.T, programs map[string]string) (kubectl func(t *testing.T, args ...string) string) {
	t.Helper()
	dir := t.TempDir()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	keyFile, tokens := filepath.Join(dir, "key.pem"), filepath.Join(dir, "tokens.csv")
	for file, content := range map[string][]byte{
		keyFile: pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}),
		tokens:  []byte("token,admin,admin,system:masters\n"),
	} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	etcd, peer, api := "http://"+testbed.FreeAddress(t), "http://"+testbed.FreeAddress(t), testbed.FreeAddress(t)
	_, port, _ := net.SplitHostPort(api)
	logs := []string{filepath.Join(dir, "etcd.log"), filepath.Join(dir, "kube-apiserver.log")}
	run(t, logs[0], programs["etcd"], "--data-dir="+dir+"/etcd", "--unsafe-no-fsync", "--log-level=error",
		"--listen-client-urls="+etcd, "--advertise-client-urls="+etcd,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=default="+peer)
	run(t, logs[1], programs["kube-apiserver"], "--etcd-servers="+etcd, "--bind-address=127.0.0.1", "--secure-port="+port,
		"--cert-dir="+dir, "--token-auth-file="+tokens, "--authorization-mode=AlwaysAllow",
		"--service-cluster-ip-range=10.0.0.0/24",
		"--service-account-issuer=https://localhost", "--service-account-key-file="+keyFile,
		"--service-account-signing-key-file="+keyFile)

	command := func(ctx context.Context, args ...string) *exec.Cmd {
		args = append(args, "--server=https://"+api, "--token=token", "--insecure-skip-tls-verify")
		cmd := exec.CommandContext(ctx, programs["kubectl"], args...)
		cmd.Env = append(os.Environ(), "KUBECONFIG="+os.DevNull, "HOME="+dir)
		return cmd
	}
	isReady := func(ctx context.Context) bool { return command(ctx, "get", "--raw", "/readyz").Run() == nil }
	// On two busy cores it takes minutes.
	if !testbed.Poll(t, isReady) && !testbed.Poll(t, isReady) && !testbed.Poll(t, isReady) {
		text, _ := os.ReadFile(logs[1])
		t.Fatalf("the API server does not become ready:\n%s", text)
	}
	return func(t *testing.T, args ...string) string {
		t.Helper()
		var stderr strings.Builder
		cmd := command(t.Context(), args...)
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil || stderr.Len() > 0 {
			t.Errorf("kubectl %s: %v\n%s", strings.Join(args, " "), err, &stderr)
		}
		return string(out)
	}
}

// run starts a program, and kills it when the test is over. What it writes goes to the file log.
func run(t *testing.T, log, program string, args ...string) {
	t.Helper()
	file, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = file, file
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		file.Close()
	})
}
