package services

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/grafana-tempo-go-demo/demo/discover"
	"example.com/grafana-tempo-go-demo/demo/process"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

func TestFindRoot(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	inside := filepath.Join(root, "demo", "deep")
	for _, dir := range []string{inside, filepath.Join(root, "uservice1"), filepath.Join(root, "uservice2"), filepath.Join(root, "uservice3")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "go.work"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Chdir(inside)
	if _, err := findRoot(); err == nil || !strings.Contains(err.Error(), inside) || !strings.Contains(err.Error(), "clone") {
		t.Errorf("with a service missing: %v", err)
	}
	if err := os.Mkdir(filepath.Join(root, "uservice4"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{root, inside} {
		t.Chdir(dir)
		if got, err := findRoot(); got != root || err != nil {
			t.Errorf("from %s: %q %v", dir, got, err)
		}
	}
}

func TestTempDirRemovesWhatKilledRunsLeft(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	t.Setenv("TMP", tmp)
	left := filepath.Join(tmp, discover.Prefix+"999999999-1") // no system has that many processes
	mine := filepath.Join(tmp, fmt.Sprintf("%s%d-1", discover.Prefix, os.Getpid()))
	other := filepath.Join(tmp, discover.Prefix+"notes")
	for _, dir := range []string{left, mine, other} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := tempDir()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Error("the folder of a run that is gone is still there")
	}
	for _, d := range []string{dir, mine, other} {
		if _, err := os.Stat(d); err != nil {
			t.Error(err)
		}
	}
}

func TestBuildSaysWhatIsWrong(t *testing.T) {
	t.Run("no go command", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		if err := build(t.Context(), t.TempDir(), t.TempDir(), io.Discard); err == nil || !strings.Contains(err.Error(), "https://go.dev/dl/") {
			t.Errorf("%v", err)
		}
	})
	t.Run("a source that does not compile", func(t *testing.T) {
		root, tmp := t.TempDir(), t.TempDir()
		work := "go 1.26.0\n"
		for _, s := range topology.Services() {
			dir := filepath.Join(root, s.Name)
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			work += "use ./" + s.Name + "\n"
			for name, text := range map[string]string{"go.mod": "module example.com/" + s.Name + "\n\ngo 1.26.0\n", "main.go": "package main\n\nfunc main() { wrong }\n"} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := os.WriteFile(filepath.Join(root, "go.work"), []byte(work), 0o644); err != nil {
			t.Fatal(err)
		}
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
	})
}

func TestAFolderThatIsNotThereIsNamedWithWhatToDo(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	t.Setenv(process.TempVariable, missing)
	if _, err := tempDir(); err == nil || !strings.Contains(err.Error(), missing) || !strings.Contains(err.Error(), "set "+process.TempVariable+" to") {
		t.Errorf("%v", err)
	}
}
