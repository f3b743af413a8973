// Package compose reads docker-compose.yaml as Docker Compose does.
package compose

import (
	"path/filepath"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"

	"example.com/grafana-tempo-go-demo/e2e/internal/repo"
)

// Project is docker-compose.yaml with these environment variables set and no others.
func Project(t *testing.T, variables map[string]string) *types.Project {
	t.Helper()
	root, err := filepath.Abs(repo.Root)
	if err != nil {
		t.Fatal(err)
	}
	project, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir:  root,
		ConfigFiles: []types.ConfigFile{{Filename: filepath.Join(root, "docker-compose.yaml")}},
		Environment: variables,
	})
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
