package docs

import (
	"cmp"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"example.com/grafana-tempo-go-demo/e2e/internal/repo"
)

// document is one Markdown file: the parts of it that the tests check.
type document struct {
	name     string   // relative to the repository's root
	text     string   // the whole file
	commands []string // lines of fenced sh blocks, and code spans that begin like a command
	spans    []string // code spans
	links    []string // targets of links and pictures, and where references lead
	anchors  map[string]bool
}

// programs matches code spans that are commands: they begin with a program, possibly after
// variables.
var programs = regexp.MustCompile(`^([A-Z][A-Z0-9_]*=\S+ )*(go|make|docker|podman|kubectl|kind|k3d|curl|chmod|git)( |$)`)

var (
	codeSpan = regexp.MustCompile("`([^`]+)`")
	link     = regexp.MustCompile(`!?\[[^\]]*\]\(([^)\s]+)\)`)
	// A link's address may stand at the end of the file, under a name.
	reference = regexp.MustCompile(`\]\[([^\]]+)\]`)
	address   = regexp.MustCompile(`(?m)^\[([^\]]+)\]: (\S+)$`)
)

// documents returns the documents at the repository's root, everything in docs/, and how to deploy.
func documents(t *testing.T) []document {
	t.Helper()
	names := []string{"README.md", ".github/SECURITY.md", ".github/CONTRIBUTING.md", "conf/README.md", "deploy/kubernetes/README.md"}
	for _, name := range repo.Files(t, "docs", "*.md") {
		names = append(names, "docs/"+name)
	}
	var all []document
	for _, name := range names {
		all = append(all, parseMarkdown(name, string(repo.Read(t, name))))
	}
	return all
}

// parseMarkdown knows the Markdown of this repository: fences of three backticks, links in one
// line, code spans of one or two lines, and \| for a bar in a table.
func parseMarkdown(name, text string) document {
	d := document{name: name, text: text, anchors: map[string]bool{}}
	var prose strings.Builder
	fence, continued := "", ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		mark, inFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case inFence && fence == "":
			fence = "`" + mark
		case inFence:
			fence = ""
		case fence == "`sh":
			line = continued + strings.TrimSpace(line)
			if rest, ok := strings.CutSuffix(line, `\`); ok {
				continued = rest
				continue
			}
			continued = ""
			if line, _, _ = strings.Cut(line, " # "); line != "" && !strings.HasPrefix(line, "#") {
				d.commands = append(d.commands, strings.TrimSpace(line))
			}
		case fence == "":
			if heading, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "#") {
				d.anchors[anchor(heading)] = true
			}
			prose.WriteString(strings.TrimSpace(line) + " ")
		}
	}
	for _, found := range codeSpan.FindAllStringSubmatch(prose.String(), -1) {
		span := strings.ReplaceAll(found[1], `\|`, "|")
		d.spans = append(d.spans, span)
		if programs.MatchString(span) {
			d.commands = append(d.commands, span)
		}
	}
	for _, found := range link.FindAllStringSubmatch(codeSpan.ReplaceAllString(prose.String(), "code"), -1) {
		d.links = append(d.links, found[1])
	}
	addresses := map[string]string{}
	for _, found := range address.FindAllStringSubmatch(text, -1) {
		addresses[found[1]] = found[2]
	}
	for _, found := range reference.FindAllStringSubmatch(prose.String(), -1) {
		d.links = append(d.links, cmp.Or(addresses[found[1]], "no address of ["+found[1]+"]"))
	}
	return d
}

// anchor is the name that GitHub gives a heading.
func anchor(heading string) string {
	heading = strings.ToLower(strings.ReplaceAll(heading, "`", ""))
	return strings.ReplaceAll(regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(heading, ""), " ", "-")
}

func TestLinksLeadSomewhere(t *testing.T) {
	byName := map[string]document{}
	for _, d := range documents(t) {
		byName[d.name] = d
	}
	for _, d := range byName {
		for _, target := range d.links {
			file, fragment, _ := strings.Cut(target, "#")
			switch {
			case strings.HasPrefix(target, "http://"), strings.HasPrefix(target, "https://"), strings.HasPrefix(target, "../../"):
				continue // ../../ is the repository's web site
			case file == "":
				file = d.name
			default:
				file = filepath.ToSlash(filepath.Join(filepath.Dir(d.name), file))
			}
			if _, err := os.Stat(repo.Path(file)); err != nil {
				t.Errorf("%s links to %s, which is not there", d.name, target)
			}
			if other, ok := byName[file]; ok && fragment != "" && !other.anchors[fragment] {
				t.Errorf("%s links to %s, and %s has no such heading", d.name, target, file)
			}
		}
	}
}
