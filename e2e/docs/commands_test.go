package docs

import (
	"bytes"
	"context"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/grafana-tempo-go-demo/demo/topology"
	"example.com/grafana-tempo-go-demo/e2e/internal/repo"
	"example.com/grafana-tempo-go-demo/e2e/internal/testbed"
)

// notRun are the documented commands that no test runs, and why. Other tests check the flags and
// files that they name.
var notRun = []struct {
	command *regexp.Regexp
	reason  string
}{
	{regexp.MustCompile(`^(docker|podman)( |$)`), "needs a container engine"},
	{regexp.MustCompile(`^(kubectl|kind|k3d)( |$)`), "needs a cluster; e2e/config checks what they name"},
	{regexp.MustCompile(`^go test( |$)`), "is what runs this test"},
	{regexp.MustCompile(`^make( |$)`), "is a name for other commands: its recipe is in the Makefile"},
	{regexp.MustCompile(`^chmod `), "changes files of the working tree"},
	{regexp.MustCompile(`^cd `), "goes into a new clone"},
	{regexp.MustCompile(`^git `), "changes files of the working tree, or needs the internet"},
	{regexp.MustCompile(`^go tool pprof `), "reads a profile that a benchmark has written"},
	{regexp.MustCompile(`^go run \./demo doctor( |$)`), "examines the compose stack"},
	{regexp.MustCompile(`^go run \./demo compare( |$)`), "measures for minutes"},
}

// prober is what a documented command that starts the prober contains.
const prober = "go run ./prober"

// readyText has the commands that run until they are stopped, and what they print when they are ready.
var readyText = map[string]string{
	"up":       "Everything is ready",
	"explorer": "Ctrl-C stops it",
	prober:     `"msg":"reconciled","target":"uservice3.localhost"`,
}

// assignments matches the variables before a command.
var assignments = regexp.MustCompile(`^([A-Z][A-Z0-9_]*=\S+ )*`)

// demoCommand returns the demo's subcommand and its arguments in a documented command. ok is false
// for other programs.
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

// TestCommandsOfTheDocumentationRun runs each documented command in a shell, with the built demo
// instead of `go run ./demo`, and with the URLs of the shared demo instead of the default ones.
func TestCommandsOfTheDocumentationRun(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the commands are those of a Unix shell")
	}
	seen := map[string]bool{}
	for _, d := range documents(t) {
		for _, command := range d.commands {
			if seen[command] || d.name == yourService || d.name == commentary { // other tests follow these pages
				continue
			}
			seen[command] = true
			t.Run(d.name+": "+command, func(t *testing.T) {
				t.Parallel()
				command, readsLogs := strings.CutPrefix(command, "docker compose logs | ")
				name, args, isDemo := demoCommand(command)
				if isDemo && !slices.Contains(args, "-help") {
					// Also if the command is not run: -help is printed only if the flags before it
					// are valid.
					help(t, "demo", append(append([]string{name}, args...), "-help")...)
				}
				for _, exception := range notRun {
					if exception.command.MatchString(assignments.ReplaceAllString(command, "")) {
						t.Skip(exception.reason)
					}
				}
				if readsLogs { // of a test
					command += " <demo/ledger/testdata/compose.log"
				}
				runDocumented(t, command, name, isDemo)
			})
		}
	}
}

// runDocumented runs a command to its end, or interrupts it when it is ready.
func runDocumented(t *testing.T, command, name string, isDemo bool) {
	t.Helper()
	if strings.Contains(command, prober) {
		name = prober
	}
	lasts := readyText[name] != "" && !strings.Contains(command, "-help")
	if isDemo {
		variables := assignments.FindString(command)
		arguments := strings.TrimPrefix(command[len(variables):], "go run ./demo")
		command = "exec env " + variables + testbed.Binary(t, "demo") + arguments
		if lasts && name == "up" {
			if !strings.Contains(command, " up") {
				command += " up"
			}
			// Free ports where the command sets none: other demos run at the same time.
			for _, part := range testbed.Parts {
				if flag := " -" + part + "-addr"; !strings.Contains(command, flag) {
					command += flag + " 127.0.0.1:0"
				}
			}
		}
	} else {
		if _, err := exec.LookPath("curl"); err != nil && strings.Contains(command, "curl ") {
			t.Skip(err)
		}
		if name == prober {
			command = besideSharedDemo(t, command)
		}
		command = toSharedDemo(t, command)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*testbed.Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.Dir = repo.Root
	out := &output{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for lasts && !strings.Contains(out.String(), readyText[name]) {
		select {
		case err := <-ended: // by itself, or with ctx
			t.Fatalf("ended before it was ready: %v\n%s", err, out)
		case <-time.After(20 * time.Millisecond):
		}
	}
	if lasts {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
	}
	if err := <-ended; err != nil {
		t.Errorf("%s: %v\n%s", command, err, out)
	}
	if name == prober && !testbed.Poll(t, func(ctx context.Context) bool {
		query := url.Values{"q": {`{ resource.service.name = "prober" && name = "reconcile" }`}}
		found, err := testbed.Shared(t).Tempo.Search(ctx, query)
		return err == nil && len(found) > 0
	}) {
		t.Errorf("its traces did not arrive:\n%s", out)
	}
}

// toSharedDemo replaces the documented ports of the gateway, the services and Tempo by those of the
// shared demo, unless the tests judge a stack that was up already.
func toSharedDemo(t *testing.T, command string) string {
	t.Helper()
	demo := testbed.Shared(t).Demo
	if demo == nil {
		return command
	}
	here := func(base string) string { return base[strings.LastIndex(base, ":"):] + "/" }
	gateway := here(demo.Gateway)
	ports := []string{"localhost/", "localhost" + gateway, "127.0.0.1/", "127.0.0.1" + gateway, ":8000/", gateway, ":3200/", here(demo.Tempo)}
	for _, service := range topology.Services() {
		ports = append(ports, here(service.Addr), here(demo.Services[service.Name]))
	}
	return strings.NewReplacer(ports...).Replace(command)
}

// besideSharedDemo lets the documented command of the prober use the shared demo.
func besideSharedDemo(t *testing.T, command string) string {
	t.Helper()
	demo := testbed.Shared(t).Demo
	if demo == nil {
		t.Skip("the stack that the tests judge has a prober of its own")
	}
	return "exec env " + strings.NewReplacer("127.0.0.1:4317", demo.OTLPGRPC, "http://127.0.0.1:4318", demo.OTLPHTTP,
		"http://127.0.0.1:8000", demo.Gateway, prober, testbed.Binary(t, "prober")+" -addr 127.0.0.1:0").Replace(command)
}

// output collects what a program prints.
type output struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.all.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.all.String()
}
