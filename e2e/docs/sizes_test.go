package docs

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"example.com/grafana-tempo-go-demo/e2e/internal/repo"
)

// TestReadmeSaysHowMuchInstrumentationIs compares the sizes in README.md with the pairs' difference and
// the files to copy.
func TestReadmeSaysHowMuchInstrumentationIs(t *testing.T) {
	added, all, file := map[string]int{}, 0, ""
	for line := range strings.Lines(string(repo.Read(t, "docs/instrumentation.diff"))) {
		if name, ok := strings.CutPrefix(line, "+++ "); ok {
			file, _, _ = strings.Cut(strings.TrimSpace(name), "\t")
		} else if strings.HasPrefix(line, "+") {
			added[file]++
			all++
		}
	}
	files, lines := 0, 0
	for _, name := range repo.Files(t, "uservice3", "otel*.go") {
		if !strings.HasSuffix(name, "_test.go") {
			files++
			lines += strings.Count(string(repo.Read(t, "uservice3/"+name)), "\n")
		}
	}
	page := string(repo.Read(t, "README.md"))
	for pattern, want := range map[string]string{
		`\d+ lines in handlers.go of uservice3, \d+ in that of uservice4`: fmt.Sprintf("%d lines in handlers.go of uservice3, %d in that of uservice4",
			added["uservice3/handlers.go"], added["uservice4/handlers.go"]),
		`\d+ lines in all that differ`: fmt.Sprintf("%d lines in all that differ", all),
		`\d+ files to copy, .otel\*\.go., of about \d+ lines`: fmt.Sprintf("%d files to copy, `otel*.go`, of about %d lines",
			files, (lines+50)/100*100),
	} {
		found := regexp.MustCompile(pattern).FindString(page)
		switch {
		case found == "":
			t.Errorf("README.md does not say %q", want)
		case *repo.Update:
			page = strings.ReplaceAll(page, found, want)
		case found != want:
			t.Errorf("README.md says %q, want %q: run `make docs`", found, want)
		}
	}
	if *repo.Update {
		repo.Write(t, "README.md", []byte(page))
	}
}
