package docs

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"example.com/grafana-tempo-go-demo/e2e/internal/compose"
	"example.com/grafana-tempo-go-demo/e2e/internal/repo"
)

// forExample are words of the documentation that look like a flag or a file of ours, and are not.
var forExample = map[string]string{
	"--tracing.samplerate": "a flag of Traefik",
}

// allSources is the text of all sources and configuration of the repository. Folders called docs
// are left out: one has the documentation, the other these tests, which name what does not exist.
var allSources = sync.OnceValues(func() (string, error) {
	var all strings.Builder
	err := filepath.WalkDir(repo.Root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "testdata" || entry.Name() == "docs") {
			return filepath.SkipDir
		}
		name := entry.Name()
		wanted := slices.Contains([]string{".go", ".yaml", ".env"}, filepath.Ext(name)) || name == "Makefile" || name == "Dockerfile" || strings.Contains(filepath.ToSlash(file), "/.ci/")
		if entry.IsDir() || !wanted {
			return nil
		}
		text, err := os.ReadFile(file)
		all.Write(text)
		return err
	})
	return all.String(), err
})

func sourceText(t *testing.T) string {
	t.Helper()
	all, err := allSources()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// sdkVariables are the variables that OpenTelemetry's own code names, in the versions that
// uservice3 is built with.
func sdkVariables(t *testing.T) string {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "go.opentelemetry.io/otel/sdk",
		"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc", "go.opentelemetry.io/contrib/propagators/jaeger")
	list.Dir = repo.Path("uservice3")
	out, err := list.CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	var found strings.Builder
	for _, folder := range strings.Fields(string(out)) {
		err := filepath.WalkDir(folder, func(file string, entry fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(file) != ".go" {
				return err
			}
			text, err := os.ReadFile(file)
			for _, name := range regexp.MustCompile(`OTEL_[A-Z_]+`).FindAll(text, -1) {
				found.Write(append(name, '\n'))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found.String()
}

func TestVariablesOfTheDocumentationExist(t *testing.T) {
	known := sourceText(t) + sdkVariables(t)
	for _, name := range repo.Programs {
		for _, s := range settings(help(t, name, "-help")) {
			known += s.variable + "\n"
		}
	}
	variables := regexp.MustCompile(`\b[A-Z][A-Z0-9]*(_[A-Z0-9]+)+\b`)
	documented := ""
	for _, d := range documents(t) {
		for _, name := range variables.FindAllString(regexp.MustCompile(`\([^)\s]*\)`).ReplaceAllString(d.text, ""), -1) {
			if !regexp.MustCompile(`\b` + name + `\b`).MatchString(known) {
				t.Errorf("%s names the variable %s, which nothing reads", d.name, name)
			}
		}
		documented += d.text
	}
	// And each variable of docker-compose.yaml and its overrides is documented, such as those that
	// change a port.
	documented = regexp.MustCompile("`([A-Z]+)1(\\w*)` to `[A-Z]+4\\w*`").ReplaceAllString(documented, "${1}1$2 ${1}2$2 ${1}3$2 ${1}4$2")
	for _, file := range []string{"docker-compose.yaml", "deploy/compose/collector.yaml", "deploy/compose/ebpf.yaml", "deploy/compose/scale.yaml"} {
		for _, found := range regexp.MustCompile(`\$\{([A-Z0-9_]+)`).FindAllStringSubmatch(string(repo.Read(t, file)), -1) {
			if !regexp.MustCompile(`\b` + found[1] + `\b`).MatchString(documented) {
				t.Errorf("%s reads %s, which no document names", file, found[1])
			}
		}
	}
}

func TestFlagsOfTheDocumentationExist(t *testing.T) {
	known := map[string]bool{"-help": true}
	for _, name := range repo.Programs {
		for _, s := range settings(help(t, name, "-help")) {
			known["-"+s.flag] = true
		}
	}
	for _, name := range demoCommands(t) {
		for _, s := range settings(help(t, "demo", name, "-help")) {
			known["-"+s.flag] = true
		}
	}
	for _, found := range regexp.MustCompile(`(?m)^ +- (--[a-z][a-z0-9.-]+)`).FindAllSubmatch(repo.Read(t, "docker-compose.yaml"), -1) {
		known[string(found[1])] = true
	}
	for _, d := range documents(t) {
		for _, span := range d.spans {
			for _, word := range strings.FieldsFunc(span, func(r rune) bool { return r == ' ' || r == '\n' || r == '"' }) {
				flag, _, _ := strings.Cut(word, "=")
				// TestCommandsOfTheDocumentationRun tries the flags of commands; here are those
				// named alone.
				if !regexp.MustCompile(`^--?[a-z][a-z0-9.-]+$`).MatchString(flag) || programs.MatchString(span) {
					continue
				}
				if !known[flag] && forExample[flag] == "" {
					t.Errorf("%s names the flag %s, which neither the services nor the demo have, nor does docker-compose.yaml", d.name, flag)
				}
			}
		}
	}
}

func TestFilesAndTargetsOfTheDocumentationExist(t *testing.T) {
	file := regexp.MustCompile(`^(\.?[\w-][\w.-]*/)*(\.?[\w-][\w.-]*\.(md|yaml|yml|go|diff|html|png|env|mod|work|sum)|\.git[a-z]+|\.golangci\.yml)$|^(\.?[\w-][\w.-]*/)+$`)
	makefile := string(repo.Read(t, "Makefile"))
	project := compose.Project(t, nil)
	for _, d := range documents(t) {
		words := d.spans
		for line := range strings.Lines(d.blocks) {
			if before, _, ok := strings.Cut(line, "  "); ok { // a list of folders
				words = append(words, strings.Fields(before)...)
			}
		}
		for _, word := range words {
			if !file.MatchString(word) || forExample[word] != "" {
				continue
			}
			found := false
			for _, pattern := range []string{word, filepath.Dir(d.name) + "/" + word, "*/" + word} {
				matches, err := filepath.Glob(repo.Path(pattern))
				found = found || err == nil && len(matches) > 0
			}
			if !found {
				t.Errorf("%s names %s, which is not there", d.name, word)
			}
		}
		for _, command := range d.commands {
			if target, ok := strings.CutPrefix(command, "make "); ok {
				target, _, _ = strings.Cut(target, " ")
				if !strings.Contains(makefile, "\n"+target+":") {
					t.Errorf("%s names make %s, which the Makefile does not have", d.name, target)
				}
			}
			if found := regexp.MustCompile(`(docker|podman) compose (logs|stop|start|restart|exec|kill)(( -\S+)*)(( [a-z0-9]+)*)`).FindStringSubmatch(command); found != nil {
				for _, service := range strings.Fields(found[5]) {
					if _, ok := project.Services[service]; !ok {
						t.Errorf("%s: %s: there is no service %s", d.name, command, service)
					}
				}
			}
		}
	}
}
