package docs

import (
	"maps"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"example.com/grafana-tempo-go-demo/demo/topology"
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

func TestFlagsOfTheDocumentationExist(t *testing.T) {
	known := map[string]bool{"-help": true, "--tracing.samplerate": true, "--abort-on-container-exit": true} // of Traefik and Compose
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
	for _, service := range compose.Project(t, nil).Services {
		for _, argument := range service.Command {
			flag, _, _ := strings.Cut(argument, "=")
			known[flag] = true
		}
	}
	flag := regexp.MustCompile(`^--?[a-z][a-z0-9.-]+$`)
	for _, d := range documents(t) {
		for _, span := range d.spans {
			if programs.MatchString(span) {
				continue // TestCommandsOfTheDocumentationRun tries the flags of commands
			}
			for _, word := range strings.FieldsFunc(span, func(r rune) bool { return r == ' ' || r == '\n' || r == '"' }) {
				name, _, _ := strings.Cut(word, "=")
				if flag.MatchString(name) && !known[name] {
					t.Errorf("%s names the flag %s, which no program has that is started here", d.name, name)
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

// localAddress matches URLs on this machine and inside the compose network, with their paths.
var localAddress = regexp.MustCompile(`\bhttps?://(localhost|127\.0\.0\.1|[a-z0-9-]+\.localhost|[a-z0-9-]+:\d+)` +
	`(:\d+)?(/[^\s)>'"` + "`" + `]*)?`)

// TestAddressesAreThere checks each local URL in the documentation: its port is published, or a default
// of the demo, and its host is this machine or a container.
func TestAddressesAreThere(t *testing.T) {
	// Nobody listens on port 1, on purpose; the others are for services of your own.
	known, containers := map[string]bool{"": true, "1": true, "7878": true, "7879": true}, map[string]bool{}
	for _, stack := range compose.Stacks {
		for name, service := range compose.Stack(t, stack, nil).Services {
			for _, name := range append(compose.Aliases(service), name) {
				containers[name] = true
			}
			for _, port := range service.Ports {
				known[port.Published] = true
			}
		}
	}
	for _, part := range topology.Parts() {
		_, port, _ := net.SplitHostPort(part.Addr)
		known[port] = true
	}
	assigned := regexp.MustCompile(`[A-Z0-9]_PORT=(\d+)`)
	for _, d := range documents(t) {
		ports := maps.Clone(known)
		for _, found := range assigned.FindAllStringSubmatch(d.text, -1) {
			ports[found[1]] = true
		}
		for _, address := range localAddress.FindAllString(d.text, -1) {
			u, err := url.Parse(strings.TrimRight(address, ".,;:"))
			if err != nil {
				t.Errorf("%s: %s: %v", d.name, address, err)
				continue
			}
			here := strings.HasSuffix(u.Hostname(), "localhost") || u.Hostname() == "127.0.0.1"
			if !containers[u.Hostname()] && !(here && ports[u.Port()]) {
				t.Errorf("%s names %s, where nothing listens", d.name, address)
			}
		}
	}
}
