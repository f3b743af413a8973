// Package repo reads the files of this repository, which are named relative to its root.
package repo

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Root is the repository's root, relative to the folder of a test package, such as e2e/docs, in
// which go test runs it.
const Root = "../.."

// Update is the flag -update: tests write generated files instead of comparing them.
var Update = flag.Bool("update", false, "write the generated files and the golden traces anew instead of comparing them")

// Services are the four services, sorted.
var Services = []string{"uservice1", "uservice2", "uservice3", "uservice4"}

// Programs are all that take their settings from flags and variables of the same names.
var Programs = append(slices.Clone(Services), "prober")

// Path returns the path of a file that is named relative to the repository's root, with slashes.
func Path(name string) string {
	return filepath.Join(filepath.FromSlash(Root), filepath.FromSlash(name))
}

// Read returns the content of a file of the repository.
func Read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(Path(name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Write replaces a file of the repository, for the flag -update.
func Write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(Path(name), data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// Files returns the names of the files in a folder that match a pattern of filepath.Match, without
// the folder.
func Files(t *testing.T, folder, pattern string) []string {
	t.Helper()
	matches, err := filepath.Glob(filepath.Join(Path(folder), pattern))
	if err != nil {
		t.Fatal(err)
	}
	for i := range matches {
		matches[i] = filepath.Base(matches[i])
	}
	return matches
}
