package docs

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"example.com/grafana-tempo-go-demo/demo/stack"
	"example.com/grafana-tempo-go-demo/e2e/internal/compose"
	"example.com/grafana-tempo-go-demo/e2e/internal/repo"
	"example.com/grafana-tempo-go-demo/e2e/internal/testbed"
)

// notRun are the commands of the documentation that no test runs, whatever variables they are given, with the reason. What
// they name is checked all the same.
var notRun = []struct {
	command *regexp.Regexp
	reason  string
}{
	{regexp.MustCompile(`^(docker|podman)( |$)`), "needs a container engine"},
	{regexp.MustCompile(`^go test( |$)`), "is what runs this test"},
	{regexp.MustCompile(`^make( |$)`), "is a name for other commands: its recipe is in the Makefile"},
	{regexp.MustCompile(`^chmod `), "changes files of the working tree"},
	{regexp.MustCompile(`^git `), "changes files of the working tree, or needs the internet"},
	{regexp.MustCompile(`^go tool pprof `), "reads a profile that a benchmark has written"},
	{regexp.MustCompile(`^go run \./demo doctor( |$)`), "examines the compose stack"},
	{regexp.MustCompile(`^go run \./demo compare( |$)`), "measures for minutes"},
}

// lasting are the commands of the demo that run until they are stopped, and what they print when they are ready.
var lasting = map[string]string{
	"up":       "Everything is ready",
	"explorer": "Ctrl-C stops it",
}

// forExample are words of the documentation that look like a flag, a file or an address of ours, and are not.
var forExample = map[string]string{
	"--tracing.samplerate": "a flag of Traefik",
}

// assignments are the variables that a command is given.
var assignments = regexp.MustCompile(`^([A-Z][A-Z0-9_]*=\S+ )*`)

// demoCommand takes the demo's subcommand and its arguments from a command of the documentation.
func demoCommand(command string) (name string, args []string, ok bool) {
	words := strings.Fields(assignments.ReplaceAllString(command, ""))
	if len(words) < 3 || strings.Join(words[:3], " ") != "go run ./demo" {
		return "", nil, false
	}
	if words = words[3:]; len(words) > 0 && !strings.HasPrefix(words[0], "-") {
		return words[0], words[1:], true
	}
	return "up", words, true
}

// TestCommandsOfTheDocumentationRun runs each of them, as a shell would: with the demo built once, which is what `go run` does
// each time, and with the addresses of the stack that is under test where they name the default ones.
func TestCommandsOfTheDocumentationRun(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the commands are those of a Unix shell")
	}
	seen := map[string]bool{}
	for _, d := range documents(t) {
		for _, command := range d.commands {
			if seen[command] {
				continue
			}
			seen[command] = true
			t.Run(d.name+": "+command, func(t *testing.T) {
				t.Parallel()
				input := ""
				if rest, ok := strings.CutPrefix(command, "docker compose logs | "); ok { // such a log is at hand
					command, input = rest, repo.Path("demo/ledger/testdata/compose.log")
				}
				name, args, isDemo := demoCommand(command)
				if isDemo && !slices.Contains(args, "-help") {
					// Even where the command is not run: -help is reached only past flags that there are, with values that fit.
					help(t, "demo", append(append([]string{name}, args...), "-help")...)
				}
				for _, exception := range notRun {
					if exception.command.MatchString(assignments.ReplaceAllString(command, "")) {
						t.Skip(exception.reason)
					}
				}
				runDocumented(t, command, name, isDemo, input)
			})
		}
	}
	if len(seen) < 20 {
		t.Errorf("only %d commands were found", len(seen))
	}
}

// runDocumented runs one command, to its end or until it is ready and is interrupted.
func runDocumented(t *testing.T, command, name string, isDemo bool, input string) {
	t.Helper()
	lasts := isDemo && lasting[name] != "" && !strings.Contains(command, "-help")
	if isDemo {
		variables := assignments.FindString(command)
		command = "exec env " + variables + testbed.Binary(t, "demo") + strings.TrimPrefix(command[len(variables):], "go run ./demo")
		if lasts && name == "up" {
			if !strings.Contains(command, " up") {
				command += " up"
			}
			// Free ports for what the command leaves open, as other copies run at the same time.
			for _, part := range testbed.Parts {
				if flag := " -" + part + "-addr"; !strings.Contains(command, flag) {
					command += flag + " 127.0.0.1:0"
				}
			}
		}
	} else {
		command = localAddress.ReplaceAllStringFunc(command, func(address string) string {
			if here, ok := hereInstead(t, address); ok {
				return here
			}
			return address
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*testbed.Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.Dir = repo.Root
	if input != "" {
		file, err := os.Open(input)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		cmd.Stdin = file
	}
	out := &awaited{text: lasting[name], seen: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	if lasts {
		select {
		case <-out.seen:
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Error(err)
			}
		case err := <-ended:
			t.Fatalf("ended before it was ready: %v\n%s", err, out)
		}
	}
	if err := <-ended; err != nil {
		t.Errorf("%s: %v\n%s", command, err, out)
	}
}

// awaited collects what a program prints, and tells when a text is among it.
type awaited struct {
	text string
	seen chan struct{}

	mu   sync.Mutex
	all  bytes.Buffer
	done bool
}

func (a *awaited) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all.Write(p)
	if !a.done && a.text != "" && bytes.Contains(a.all.Bytes(), []byte(a.text)) {
		a.done = true
		close(a.seen)
	}
	return len(p), nil
}

func (a *awaited) String() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.all.String()
}

// localAddress finds the addresses on this machine, and those inside the compose network, with what follows them.
var localAddress = regexp.MustCompile(`\bhttps?://(localhost|127\.0\.0\.1|[a-z0-9-]+\.localhost|[a-z0-9-]+:\d+)(:\d+)?(/[^\s)>'"` + "`" + `]*)?`)

// hereInstead turns an address of either way of running the demo into one of the stack under test; ok is false for what that
// has not got, such as Grafana.
func hereInstead(t *testing.T, address string) (here string, ok bool) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatalf("%s: %v", address, err)
	}
	demo := testbed.Shared(t).Demo
	if demo == nil {
		return "", false // the stack is elsewhere, and nobody told where all of it is
	}
	port := u.Port()
	byPort := map[string]string{"": demo.Gateway, "80": demo.Gateway}
	for addr, part := range map[string]string{
		stack.DefaultGateway: demo.Gateway, stack.DefaultTempo: demo.Tempo, stack.DefaultOTLPHTTP: demo.OTLPHTTP, stack.DefaultExplorer: demo.Explorer,
	} {
		_, port, _ := net.SplitHostPort(addr)
		byPort[port] = part
	}
	for _, service := range stack.Services() {
		_, port, _ := net.SplitHostPort(service.Addr)
		byPort[port] = demo.Services[service.Name]
	}
	target, err := url.Parse(byPort[port])
	if err != nil || target.Host == "" {
		return "", false
	}
	// On port 3000 there is Grafana too: only the page's own paths are there in both.
	_, explorerPort, _ := net.SplitHostPort(stack.DefaultExplorer)
	if port == explorerPort && u.Path != "/" && u.Path != "" {
		return "", false
	}
	u.Host = net.JoinHostPort(u.Hostname(), target.Port())
	return u.String(), true
}

// TestAddressesAreServed holds each address on this machine that the documentation names to being one of the stack's: to a
// port that is published or a default, and, where the stack under test has its part, to an answer.
func TestAddressesAreServed(t *testing.T) {
	known := map[string]bool{"": true}
	for _, service := range compose.Project(t, nil).Services {
		for _, port := range service.Ports {
			known[port.Published] = true
		}
	}
	addresses := []string{stack.DefaultGateway, stack.DefaultExplorer, stack.DefaultTempo, stack.DefaultOTLPGRPC, stack.DefaultOTLPHTTP}
	for _, service := range stack.Services() {
		addresses = append(addresses, service.Addr)
	}
	for _, address := range addresses {
		_, port, _ := net.SplitHostPort(address)
		known[port] = true
	}
	configured := sourceText(t)
	asked := map[string]bool{}
	for _, d := range documents(t) {
		ports := maps.Clone(known)
		for _, assigned := range regexp.MustCompile(`[A-Z0-9]_PORT=(\d+)`).FindAllStringSubmatch(d.text, -1) {
			ports[assigned[1]] = true
		}
		for _, address := range localAddress.FindAllString(d.text, -1) {
			address = strings.TrimRight(address, ".,;:")
			u, err := url.Parse(address)
			if err != nil {
				t.Errorf("%s: %s: %v", d.name, address, err)
				continue
			}
			inside := !strings.HasSuffix(u.Hostname(), "localhost") && u.Hostname() != "127.0.0.1"
			switch {
			case inside || !ports[u.Port()]:
				if !strings.Contains(configured, u.Host) {
					t.Errorf("%s names %s, and neither the stack nor its configuration knows %s", d.name, address, u.Host)
				}
				continue
			case strings.ContainsAny(address, "<{") || asked[address]:
				continue
			}
			asked[address] = true
			here, ok := hereInstead(t, address)
			if !ok {
				continue
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, here, nil)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(req.URL.Hostname(), ".localhost") { // Go's resolver does not know it
				req.Host, req.URL.Host = req.URL.Host, net.JoinHostPort("127.0.0.1", req.URL.Port())
			}
			res, err := testbed.Shared(t).Client.Do(req)
			if err != nil {
				t.Errorf("%s names %s: %v", d.name, address, err)
				continue
			}
			res.Body.Close()
			// Without a path it is the base of other addresses. The gateway knows no host 127.0.0.1: a command that names it
			// sends another Host header. And some ask for trouble.
			base := u.Path == "" || strings.HasPrefix(here, testbed.Shared(t).Demo.Gateway) && u.Path == "/"
			if res.StatusCode >= 400 && !(base && res.StatusCode == http.StatusNotFound) && !strings.Contains(u.RawQuery, "fail=") {
				t.Errorf("%s names %s, which answers %s", d.name, address, res.Status)
			}
		}
	}
	if len(asked) < 10 {
		t.Errorf("only %d addresses were found", len(asked))
	}
}

// allSources is all that the repository is configured and written with, documentation apart, as one text.
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

// sdkVariables are the variables that OpenTelemetry's own code reads, or says that it reads, in the versions that uservice3 is
// built with.
func sdkVariables(t *testing.T) string {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "go.opentelemetry.io/otel/sdk",
		"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc", "go.opentelemetry.io/contrib/propagators/autoprop")
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
	// The other way round: whoever has a port taken must find out how to move it.
	documented = regexp.MustCompile("`([A-Z]+)1(\\w*)` to `[A-Z]+4\\w*`").ReplaceAllString(documented, "${1}1$2 ${1}2$2 ${1}3$2 ${1}4$2")
	for _, found := range regexp.MustCompile(`\$\{([A-Z0-9_]+)`).FindAllStringSubmatch(string(repo.Read(t, "docker-compose.yaml")), -1) {
		if !regexp.MustCompile(`\b` + found[1] + `\b`).MatchString(documented) {
			t.Errorf("docker-compose.yaml reads %s, which no document names", found[1])
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
				// Commands are tried with their flags; here it is about those that are named alone.
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

func TestDemoCommandsAreToldApart(t *testing.T) {
	for command, want := range map[string]string{
		"go run ./demo": "up []", "go run ./demo up -json": "up [-json]", "go run ./demo -json": "up [-json]", "A=1 B_C=2 go run ./demo tour -fail redis": "tour [-fail redis]", "go test work": " []",
	} {
		name, args, _ := demoCommand(command)
		if got := fmt.Sprint(name, " ", args); got != want {
			t.Errorf("%s: %s, want %s", command, got, want)
		}
	}
}
