package services

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/grafana-tempo-go-demo/demo/topology"
)

func TestASourceThatDoesNotCompileIsAnErrorAndLeavesNothing(t *testing.T) {
	root, tmp := t.TempDir(), t.TempDir()
	work := "go 1.26.0\n"
	for _, s := range topology.Services() {
		work += "use ./" + s.Name + "\n"
		module := "module example.com/grafana-tempo-go-demo/" + s.Name + "\n\ngo 1.26.0\n"
		for name, text := range map[string]string{"go.mod": module, "main.go": "package main\n\nfunc main() { wrong }\n"} {
			write(t, filepath.Join(root, s.Name, name), text)
		}
	}
	write(t, filepath.Join(root, "go.work"), work)
	t.Setenv("TMPDIR", tmp)
	t.Setenv("TMP", tmp)
	t.Chdir(root)
	_, err := Build(t.Context(), io.Discard)
	if err == nil || !strings.Contains(err.Error(), "undefined: wrong") {
		t.Errorf("%v", err)
	}
	if left, _ := os.ReadDir(tmp); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
