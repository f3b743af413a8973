package doctor

import (
	"cmp"
	_ "embed"
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
	asked string // the part that the link asks
	About any    // what the check has found out, or the wrong answer to a question
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
	return Cause{capital(a.masked(strings.TrimSpace(strings.Join(why, " ")))), a.files(a.masked(strings.Join(do, "; ")))}
}

// overrides are the files of deploy/compose that put more between senders and traces than one Tempo, with
// a job by which Prometheus tells them.
var overrides = map[string]string{"collector": "collector", "scale": "distributor"}

// files names the files of the stack's override. Without them docker compose would undo it.
func (a advice) files(do string) string {
	if a.override == "" {
		return do
	}
	files := "-f docker-compose.yaml -f deploy/compose/" + a.override + ".yaml "
	do = strings.ReplaceAll(do, "docker compose ", "docker compose "+files)
	if a.override == "scale" {
		do = strings.ReplaceAll(do, "conf/tempo.yaml", "conf/scale/tempo.yaml")
	}
	return do
}

// Service is the part that the link asks, as commands name it; Part and Gateway are for sentences.
func (a advice) Service() string { return a.name(a.asked) }
func (a advice) Part() string    { return a.title(a.asked) }
func (a advice) Gateway() string { return a.title(topology.Gateway) }

// Flag is the flag for the part's address, and URL the address.
func (a advice) Flag() string { return "-" + a.asked }
func (a advice) URL() string  { return a.URLs[a.asked] }

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
		return "start it again without -break and -propagators: go run ./demo; " +
			"or mend the fault on its page, " + a.URLs[topology.Explorer]
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

// title is what a part is called in a sentence.
func (o Options) title(part string) string {
	if o.Kind == Local {
		return "the " + o.name(part)
	}
	return capital(o.name(part))
}

// capital makes a sentence's first letter a capital, except in a name of ours.
func capital(s string) string {
	if strings.HasPrefix(s, "uservice") || s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
