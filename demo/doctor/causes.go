package doctor

import (
	"cmp"
	_ "embed"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"text/template"

	"example.com/grafana-tempo-go-demo/demo/topology"
)

// cause names a template in causes.tmpl.
type cause string

//go:embed causes.tmpl
var causesText string

var causes = sync.OnceValue(func() *template.Template {
	all := template.New("")
	for _, section := range strings.Split(causesText, "\n== ")[1:] {
		name, text, _ := strings.Cut(section, "\n")
		template.Must(all.New(name).Parse(text))
	}
	return all
})

// advice is the dot in causes.tmpl.
type advice struct {
	Options
	Asked string // the part that the link asks, a flag has its name
	About string // what the check has found out, or the wrong answer to a question
}

// step is a line of a template that says what to do, of both kinds of stack or of one.
var step = regexp.MustCompile(`^(?:(compose|local) )?-> (.*)`)

// cause writes a likely cause for people.
func (a advice) cause(c cause) Cause {
	var text strings.Builder
	if err := causes().ExecuteTemplate(&text, string(c), a); err != nil {
		return Cause{Why: err.Error()}
	}
	var why, do []string
	for line := range strings.Lines(text.String()) {
		line = strings.TrimSpace(line)
		switch m := step.FindStringSubmatch(line); {
		case m == nil:
			why = append(why, line)
		case m[1] == "" || Kind(m[1]) == a.Kind:
			do = append(do, m[2])
		}
	}
	return Cause{strings.TrimSpace(strings.Join(why, " ")), strings.Join(do, "; ")}
}

// Part is the part that the link asks, as commands name it, and Page the address of the run's page.
func (a advice) Part() string { return a.name(a.Asked) }
func (a advice) Page() string { return a.URLs[topology.Explorer] }

// URL is the part's address, without a password.
func (a advice) URL() string {
	u, _ := url.Parse(a.URLs[a.Asked])
	return u.Redacted() // empty for nil
}

// Logs shows what parts have to say. Their names have spaces between them, here and below.
func (a advice) Logs(names string) string {
	if a.Kind == Local {
		return "where go run ./demo runs, read the lines of " + a.All(names)
	}
	return "docker compose logs --tail 20 " + names
}

// Up starts parts with changed settings.
func (a advice) Up(names string) string {
	if a.Kind == Local {
		return "start it again without -break and -propagators: go run ./demo; or mend the fault on its page, " + a.Page()
	}
	return "docker compose up -d " + names
}

// All lists names in a sentence.
func (a advice) All(names string) string { return strings.ReplaceAll(names, " ", " and ") }

// name is what a part is called in this kind of stack.
func (o Options) name(part string) string {
	compose := map[string]string{topology.Gateway: "traefik"}
	local := map[string]string{topology.Tempo: "collector", topology.Explorer: "page"}
	return cmp.Or(map[Kind]map[string]string{Compose: compose, Local: local}[o.Kind][part], part)
}
