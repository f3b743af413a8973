package docs

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"example.com/grafana-tempo-go-demo/e2e/internal/repo"
	"example.com/grafana-tempo-go-demo/e2e/internal/testbed"
)

const commentary = "docs/commentary.md"

// quotedFile matches a fence that names the file that its lines are quoted from.
var quotedFile = regexp.MustCompile("(?ms)^```(?:go|yaml|html) (\\S+)\n(.*?)^```")

// TestQuotedLinesStandInTheirFile holds what a document quotes to the file that it names, line by
// line, whatever the indentation.
func TestQuotedLinesStandInTheirFile(t *testing.T) {
	for _, d := range documents(t) {
		for _, quote := range quotedFile.FindAllStringSubmatch(d.text, -1) {
			if !strings.Contains(trimLines(string(repo.Read(t, quote[1]))), "\n"+trimLines(quote[2])) {
				t.Errorf("%s quotes what %s does not have:\n%s", d.name, quote[1], quote[2])
			}
		}
	}
}

// trimLines returns lines without what surrounds them.
func trimLines(text string) string {
	var trimmed strings.Builder
	for line := range strings.Lines(text) {
		trimmed.WriteString(strings.TrimSpace(line) + "\n")
	}
	return trimmed.String()
}

// TestTheConsoleSampleIsWhatTheServicePrints runs the commands of the commentary, and holds each
// line of its sample, with other ids, to what the service prints.
func TestTheConsoleSampleIsWhatTheServicePrints(t *testing.T) {
	page := string(repo.Read(t, commentary))
	run, call := commandOf(t, commentary, page, "go run ./uservice4"), commandOf(t, commentary, page, "curl ")
	header := regexp.MustCompile(`-H '([\w-]+): (\S+)'`).FindStringSubmatch(call)
	addr := testbed.FreeAddress(t)
	cmd := exec.CommandContext(t.Context(), testbed.Binary(t, "uservice4"), "-addr", addr)
	cmd.Env = append(append(os.Environ(), strings.Fields(assignments.FindString(run))...), "DATABASE_MIN=0s", "DATABASE_MAX=0s")
	req := get(t, "http://"+addr)
	req.Header.Set(header[1], header[2])
	printed := untilAnswered(t, cmd, req)

	_, sample, _ := strings.Cut(page, "```json\n")
	sample, _, _ = strings.Cut(sample, "```")
	// Ids are the same in both if they are the header's, and follow from one span to the next.
	parts := strings.Split(header[2], ":")
	ids := regexp.MustCompile(`"(Name|TraceID|SpanID)": "(\w+)"`)
	for name, text := range map[string]string{"sample": sample, "output": printed} {
		var got []string
		for _, id := range ids.FindAllStringSubmatch(text, -1) {
			got = append(got, id[2])
		}
		if len(got) != 10 {
			t.Fatalf("the %s has other spans than two: %v\n%s", name, got, text)
		}
		want := []string{"database_call", parts[0], got[2], parts[0], got[7], "handle_incoming_call", parts[0], got[7], parts[0], parts[1]}
		if !slices.Equal(got, want) {
			t.Errorf("the %s says %v, want %v", name, got, want)
		}
	}
	own := regexp.MustCompile(`"SpanID": "\w+"`)
	rest := trimLines(own.ReplaceAllString(printed, "SpanID"))
	for line := range strings.Lines(trimLines(own.ReplaceAllString(sample, "SpanID"))) {
		if line == "...\n" {
			continue
		}
		_, after, ok := strings.Cut(rest, line)
		if !ok {
			t.Fatalf("after the lines before, the service does not print %s:\n%s", line, printed)
		}
		rest = after
	}
}
