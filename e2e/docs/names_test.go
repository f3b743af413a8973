package docs

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"example.com/grafana-tempo-go-demo/e2e/internal/compose"
	"example.com/grafana-tempo-go-demo/e2e/internal/repo"
)

// TestVariablesAreDocumented, in docs/settings.md: those that the compose files read, such as the ports,
// and those with which they start the instrumented services. What that page lists besides is a setting
// of our programs.
func TestVariablesAreDocumented(t *testing.T) {
	known := map[string]bool{}
	for _, stack := range slices.Concat(compose.Stacks, compose.Watched) {
		for _, file := range compose.Files(stack) {
			for _, found := range regexp.MustCompile(`\$\{([A-Z0-9_]+)`).FindAllStringSubmatch(string(repo.Read(t, file)), -1) {
				known[found[1]] = true
			}
		}
	}
	for name := range compose.Project(t, nil).Services["uservice3"].Environment {
		known[name] = known[name] || strings.HasPrefix(name, "OTEL_")
	}
	text := string(repo.Read(t, "docs/settings.md"))
	text = regexp.MustCompile("`([A-Z]+)1(\\w*)` to `[A-Z]+4\\w*`").ReplaceAllString(text, "`${1}1$2` `${1}2$2` `${1}3$2` `${1}4$2`")
	for name, read := range known {
		if read && !strings.Contains(text, "`"+name+"`") {
			t.Errorf("docs/settings.md does not name %s", name)
		}
	}
	for _, name := range repo.Programs {
		for _, s := range settings(help(t, name, "-help")) {
			known[s.variable] = true
		}
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `([A-Z0-9_]+)`").FindAllStringSubmatch(text, -1) {
		if name := row[1]; !known[name] && name != "OTEL_SDK_DISABLED" { // nobody here sets it
			t.Errorf("docs/settings.md lists %s, which nothing reads", name)
		}
	}
}

func TestFilesAndTargetsOfTheDocumentationExist(t *testing.T) {
	file := regexp.MustCompile(`^(\.?[\w-][\w.-]*/)*(\.?[\w-][\w.-]*\.(md|yaml|yml|go|diff|html|png|env|mod|work|sum)|\.git[a-z]+|\.golangci\.yml)$|^(\.?[\w-][\w.-]*/)+$`)
	makefile := string(repo.Read(t, "Makefile"))
	project := compose.Project(t, nil)
	for _, d := range documents(t) {
		for _, word := range d.spans {
			if !file.MatchString(word) {
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
