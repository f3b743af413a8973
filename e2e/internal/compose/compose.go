// Package compose reads docker-compose.yaml and its overrides as Docker Compose does.
package compose

import (
	"path/filepath"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"

	"example.com/grafana-tempo-go-demo/e2e/internal/repo"
)

// Stacks are the ways to start the demo with Docker: by name, the files that docker compose reads.
var Stacks = map[string][]string{
	"plain":     {"docker-compose.yaml"},
	"collector": {"docker-compose.yaml", "deploy/compose/collector.yaml"},
	"scale":     {"docker-compose.yaml", "deploy/compose/scale.yaml"},
}

// EBPF names a further one, which is not in Stacks: it makes an exception to what holds for those.
const EBPF = "ebpf"

// Project is docker-compose.yaml with these environment variables set and no others.
func Project(t *testing.T, variables map[string]string) *types.Project {
	t.Helper()
	return Stack(t, "plain", variables)
}

// Stack is one of Stacks with these environment variables set and no others.
func Stack(t *testing.T, name string, variables map[string]string) *types.Project {
	t.Helper()
	root, err := filepath.Abs(repo.Root)
	if err != nil {
		t.Fatal(err)
	}
	files := Stacks[name]
	if name == EBPF {
		files = []string{"docker-compose.yaml", "deploy/compose/ebpf.yaml"}
	}
	details := types.ConfigDetails{WorkingDir: root, Environment: variables}
	for _, file := range files {
		details.ConfigFiles = append(details.ConfigFiles, types.ConfigFile{Filename: filepath.Join(root, file)})
	}
	project, err := loader.LoadWithContext(t.Context(), details)
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// Variable returns a variable of a service's environment, or "".
func Variable(service types.ServiceConfig, name string) string {
	if value := service.Environment[name]; value != nil {
		return *value
	}
	return ""
}
