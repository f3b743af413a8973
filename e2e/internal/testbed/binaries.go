package testbed

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"example.com/grafana-tempo-go-demo/e2e/internal/repo"
)

// built is the folder with the programs, which Run removes; it is empty until binaries has been
// called.
var built string

// binaries are all programs of the repository, built once for all tests of a package.
var binaries = sync.OnceValues(func() (_ string, err error) {
	if built, err = os.MkdirTemp("", "e2e-"); err != nil {
		return "", err
	}
	args := []string{"build", "-o", built + string(filepath.Separator), "./demo"}
	for _, name := range repo.Programs {
		args = append(args, "./"+name)
	}
	build := exec.Command("go", args...)
	build.Dir = repo.Root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return built, nil
})

// Binaries returns the folder with the built programs: the demo, the services and the prober.
func Binaries(t *testing.T) string {
	t.Helper()
	folder, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

// Binary returns the path of one of the built programs.
func Binary(t *testing.T, name string) string {
	t.Helper()
	return executable(Binaries(t), name)
}

func executable(folder, name string) string {
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return filepath.Join(folder, name)
}
