package docs

import (
	"bufio"
	"bytes"
	"context"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"example.com/grafana-tempo-go-demo/demo/topology"
	"example.com/grafana-tempo-go-demo/e2e/internal/repo"
	"example.com/grafana-tempo-go-demo/e2e/internal/testbed"
)

// notRun matches the documented commands that no test runs: they need a container engine, a cluster or
// the internet, change the working tree, measure for minutes, or are what runs this test. Other tests
// check the files and targets that they name.
var notRun = regexp.MustCompile(`^(docker|podman|kubectl|kind|k3d|make|chmod|cd|git|go test|go tool pprof|` +
	`go run \./demo (doctor|compare))( |$)`)

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
				if notRun.MatchString(assignments.ReplaceAllString(command, "")) {
					t.Skip("not run here")
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
		if name = prober; testbed.Shared(t).Demo == nil {
			t.Skip("the stack that the tests judge has a prober of its own")
		}
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
		command = toSharedDemo(t, command)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*testbed.Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.Dir = repo.Root
	out, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	ready, printed := !lasts, ""
	for lines := bufio.NewReader(out); err == nil; {
		var line string
		line, err = lines.ReadString('\n')
		if printed += line; !ready && strings.Contains(line, readyText[name]) {
			ready = true
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Error(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil || !ready {
		t.Errorf("%s: ready: %t; ended with %v\n%s", command, ready, err, printed)
	}
}

// toSharedDemo replaces the documented ports by those of the shared demo, unless the tests judge a
// stack that was up already.
func toSharedDemo(t *testing.T, command string) string {
	t.Helper()
	demo := testbed.Shared(t).Demo
	if demo == nil {
		return command
	}
	port := func(base string) string { return base[strings.LastIndex(base, ":"):] }
	gateway := port(demo.Gateway)
	replace := []string{"localhost/", "localhost" + gateway + "/", "127.0.0.1/", "127.0.0.1" + gateway + "/", ":8000", gateway,
		":3200", port(demo.Tempo), ":4317", port(demo.OTLPGRPC), ":4318", port(demo.OTLPHTTP),
		prober, "exec " + testbed.Binary(t, "prober") + " -addr 127.0.0.1:0"}
	for _, service := range topology.Services() {
		replace = append(replace, port(service.Addr), port(demo.Services[service.Name]))
	}
	return strings.NewReplacer(replace...).Replace(command)
}

// untilAnswered starts a program, interrupts it when each request was answered with 200, and returns
// what it has printed.
func untilAnswered(t *testing.T, cmd *exec.Cmd, requests ...*http.Request) string {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("Windows cannot interrupt a single process")
	}
	var printed bytes.Buffer
	cmd.Stdout, cmd.Stderr = &printed, &printed
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	answered := true
	for _, req := range requests {
		answered = answered && testbed.Poll(t, func(ctx context.Context) bool {
			res, err := http.DefaultClient.Do(req.WithContext(ctx))
			if err == nil {
				res.Body.Close()
			}
			return err == nil && res.StatusCode == http.StatusOK
		})
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil || !answered {
		t.Fatalf("answered: %t; ended with %v:\n%s", answered, err, &printed)
	}
	return printed.String()
}

// get is a request for an address.
func get(t *testing.T, address string) *http.Request {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}
