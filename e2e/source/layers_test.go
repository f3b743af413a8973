package source

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"example.com/grafana-tempo-go-demo/e2e/internal/repo"
)

// layers reads the picture in CONTRIBUTING.md: for each package of demo/, the number of its row
// from the top. The command files are the package "cmd_*.go".
func layers(t *testing.T) map[string]int {
	t.Helper()
	_, text, _ := strings.Cut(string(repo.Read(t, ".github/CONTRIBUTING.md")), "## Which way imports go")
	_, text, _ = strings.Cut(text, "```\n")
	text, _, _ = strings.Cut(text, "```\n")
	rows := map[string]int{}
	for i, line := range strings.Split(text, "\n") {
		for name := range strings.FieldsSeq(line) {
			if name != "|" {
				rows[name] = i
			}
		}
	}
	return rows
}

func TestImportsGoTheWayThatContributingDraws(t *testing.T) {
	const commands, prefix = "cmd_*.go", "example.com/grafana-tempo-go-demo/demo/"
	rows := layers(t)
	found := map[string]bool{}
	root := repo.Path("demo")
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		folder, err := filepath.Rel(root, filepath.Dir(name))
		if err != nil {
			return err
		}
		importer := filepath.ToSlash(folder)
		if importer == "." {
			importer = commands
		}
		found[importer] = true
		if _, drawn := rows[importer]; !drawn {
			t.Errorf("demo/%s is not in the picture of CONTRIBUTING.md", importer)
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if imported, ours := strings.CutPrefix(imported, prefix); ours && rows[imported] <= rows[importer] {
				t.Errorf("demo/%s/%s imports %s, which is not below it in the picture of CONTRIBUTING.md",
					importer, path.Base(filepath.ToSlash(name)), imported)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range rows {
		if !found[name] {
			t.Errorf("CONTRIBUTING.md draws %s, and demo/ has no such package", name)
		}
	}
}
