package docs

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/e2e/internal/repo"
	"example.com/grafana-tempo-go-demo/e2e/internal/testbed"
)

const yourService = "docs/your-service.md"

var (
	copied   = regexp.MustCompile(`(?m)^cp \S+/(uservice3/\S+) \.`)
	required = regexp.MustCompile(`(\S+\.\S+/\S+)@(v\S+)`)
	goBlock  = regexp.MustCompile("(?s)```go\n(.*?)```")
)

// TestYourServiceIsTraced follows docs/your-service.md outside the workspace: it builds the page's
// program from the page's files and versions, runs it with the page's variables beside the shared
// demo, and finds the page's trace.
func TestYourServiceIsTraced(t *testing.T) {
	t.Run("with the files of uservice3", func(t *testing.T) { yourServiceIsTraced(t, false) })
	t.Run("with the file for traces alone", func(t *testing.T) { yourServiceIsTraced(t, true) })
}

func yourServiceIsTraced(t *testing.T, tracesAlone bool) {
	demo := testbed.Shared(t).Demo
	if demo == nil {
		t.Skip("only some addresses of a stack that is up already are known")
	}
	page := string(repo.Read(t, yourService))
	addr := testbed.FreeAddress(t)
	here := strings.NewReplacer("127.0.0.1:7878", addr, "http://127.0.0.1:8084", demo.Services["uservice4"], "127.0.0.1:4317", demo.OTLPGRPC)
	program := buildYourService(t, page, here, tracesAlone)

	run, call := yourCommand(t, page, " go run ."), yourCommand(t, page, "curl ")
	cmd := exec.CommandContext(t.Context(), program)
	name := "orders"
	if tracesAlone {
		name = "traced" // as long as the page's
	}
	cmd.Env = append(append(os.Environ(), strings.Fields(here.Replace(assignments.FindString(run)))...), "OTEL_SERVICE_NAME="+name)
	logs := untilAnswered(t, cmd, get(t, "http://"+addr+"/healthz"), get(t, here.Replace(strings.TrimPrefix(call, "curl "))))

	_, want, _ := strings.Cut(page, "```text\n")
	want, _, _ = strings.Cut(want, "```")
	want = regexp.MustCompile(`(?m)^orders`).ReplaceAllString(want, name)
	client := testbed.Shared(t).Tempo
	var got string
	var err error
	if !testbed.Poll(t, func(ctx context.Context) bool {
		var found []tempo.Summary
		found, err = client.Summaries(ctx, url.Values{"q": {fmt.Sprintf("{resource.service.name=%q}", name)}})
		if err != nil || len(found) != 1 { // the health check has none
			return false
		}
		var trace *tempo.Trace
		if trace, err = client.Trace(ctx, found[0].ID); err == nil {
			got = tree(trace.Spans[:1], "")
		}
		return err == nil && got == want
	}) {
		t.Errorf("the trace is\n%s(error %v), and the page shows\n%s\n%s", got, err, want, logs)
	}
	if !tracesAlone && !regexp.MustCompile(`msg=order .*trace_id=[0-9a-f]{32}`).MatchString(logs) {
		t.Errorf("the log line has no trace id:\n%s", logs)
	}
}

// buildYourService builds the program of the page in a module of its own and returns its path.
// Instead of `go get` and `go mod tidy`, which may download, it takes the go.mod of uservice3.
func buildYourService(t *testing.T, page string, here *strings.Replacer, tracesAlone bool) string {
	t.Helper()
	folder := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	code := goBlock.FindAllStringSubmatch(page, -1)
	if len(code) != 2 {
		t.Fatalf("%s has %d Go files, want the program and the one for traces alone", yourService, len(code))
	}
	program := here.Replace(code[0][1])
	if tracesAlone {
		write("telemetry.go", code[1][1])
		program = strings.Replace(program, "withTelemetry(", "(", 1)
	} else {
		for _, file := range copied.FindAllStringSubmatch(page, -1) {
			write(filepath.Base(file[1]), string(repo.Read(t, file[1])))
		}
	}
	write("main.go", program)
	module := string(repo.Read(t, "uservice3/go.mod"))
	write("go.mod", regexp.MustCompile(`(?m)^module .*`).ReplaceAllString(module, "module example.com/orders"))
	write("go.sum", string(repo.Read(t, "uservice3/go.sum")))
	build := exec.CommandContext(t.Context(), "go", "build", "-o", "orders", ".")
	build.Dir = folder
	build.Env = append(os.Environ(), "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("the program of %s does not build: %v\n%s", yourService, err, out)
	}
	return filepath.Join(folder, "orders")
}

func TestYourServiceGetsTheVersionsOfOurs(t *testing.T) {
	page, module := string(repo.Read(t, yourService)), string(repo.Read(t, "uservice3/go.mod"))
	for _, got := range required.FindAllStringSubmatch(yourCommand(t, page, "go get "), -1) {
		want := regexp.MustCompile(`(?m)^\t` + regexp.QuoteMeta(got[1]) + ` (v\S+)$`).FindStringSubmatch(module)
		switch {
		case want == nil:
			t.Errorf("%s gets %s, which uservice3/go.mod does not require", yourService, got[1])
		case *repo.Update:
			page = strings.ReplaceAll(page, got[0], got[1]+"@"+want[1])
		case got[2] != want[1]:
			t.Errorf("%s gets %s, and uservice3/go.mod requires %s: run `make docs`", yourService, got[0], want[1])
		}
	}
	if *repo.Update {
		repo.Write(t, yourService, []byte(page))
	}
}

func yourCommand(t *testing.T, page, text string) string {
	return commandOf(t, yourService, page, text)
}

// commandOf returns the command of a page that has a text in it.
func commandOf(t *testing.T, name, page, text string) string {
	t.Helper()
	for _, command := range parseMarkdown(name, page).commands {
		if strings.Contains(command, text) {
			return command
		}
	}
	t.Fatalf("%s has no command with %q", name, text)
	return ""
}

// tree writes spans and their children as the page does, in the order of their beginnings.
func tree(spans []*tempo.Span, indent string) (lines string) {
	for _, span := range spans {
		lines += fmt.Sprintf("%-11s%s%s\n", span.Service, indent, span.Name) + tree(span.Children, indent+"  ")
	}
	return lines
}
