// Package compose reads docker-compose.yaml and its overrides as Docker Compose does.
package compose

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"

	"example.com/grafana-tempo-go-demo/e2e/internal/repo"
)

// Stacks are the ways to start the demo with Docker, by the override in deploy/compose.
var Stacks = []string{"plain", "collector", "scale"}

// Watched are the same with the kernel watching. They make an exception to what holds for Stacks.
var Watched = []string{"ebpf", "collector+ebpf", "scale+ebpf"}

// Files are the files that docker compose reads for a stack.
func Files(stack string) []string {
	files := []string{"docker-compose.yaml"}
	for _, override := range strings.Split(stack, "+") {
		if override != "plain" {
			files = append(files, "deploy/compose/"+override+".yaml")
		}
	}
	return files
}

// Project is docker-compose.yaml with these environment variables set and no others.
func Project(t *testing.T, variables map[string]string) *types.Project {
	t.Helper()
	return Stack(t, "plain", variables)
}

// Stack is one of Stacks or Watched with these environment variables set and no others.
func Stack(t *testing.T, name string, variables map[string]string) *types.Project {
	t.Helper()
	root, err := filepath.Abs(repo.Root)
	if err != nil {
		t.Fatal(err)
	}
	details := types.ConfigDetails{WorkingDir: root, Environment: variables}
	for _, file := range Files(name) {
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

// Aliases are the names of a service besides its own, sorted.
func Aliases(service types.ServiceConfig) (names []string) {
	for _, network := range service.Networks {
		if network != nil {
			names = append(names, network.Aliases...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
