package doctor

import (
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
	return template.Must(template.New("causes.tmpl").Parse(causesText))
})

// advice is the dot in causes.tmpl.
type advice struct {
	Options
	asked string // the part that the link asks
	About any    // what the check has found out
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
	return Cause{capital(strings.TrimSpace(strings.Join(why, " "))), a.files(strings.Join(do, "; "))}
}

// files names the files of the stack's override. Without them docker compose would undo it.
func (a advice) files(do string) string {
	if a.override == "" {
		return do
	}
	do = strings.ReplaceAll(do, "docker compose ", "docker compose -f docker-compose.yaml -f deploy/compose/"+a.override+".yaml ")
	if a.override == scale {
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
		return "where go run ./demo runs, read the lines of " + strings.ReplaceAll(names, " ", " and ")
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

// Generator is the part that makes the service graph.
func (a advice) Generator() string {
	if a.override == scale {
		return "metrics-generator-0"
	}
	return "tempo"
}

// Start starts parts that have ended.
func (a advice) Start(names string) string {
	return "docker compose ps -a " + names + "; docker compose start " + names + "; " + a.Logs(names)
}

// All lists names in a sentence.
func (a advice) All(names string) string { return strings.ReplaceAll(names, " ", " and ") }

// name is what a part is called in this kind of stack.
func (o Options) name(part string) string {
	switch {
	case part == topology.Gateway && o.Kind == Compose:
		return "traefik"
	case part == topology.Tempo && o.Kind == Local:
		return "collector"
	case part == topology.Explorer:
		return "page"
	}
	return part
}

// title is what a part is called in a sentence.
func (o Options) title(part string) string {
	switch {
	case part == topology.Gateway && o.Kind == Compose:
		return "Traefik"
	case o.Kind == Local:
		return "the " + o.name(part)
	}
	return capital(part)
}

// capital makes a sentence's first letter a capital, except in a name of ours.
func capital(s string) string {
	if strings.HasPrefix(s, "uservice") || s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// hostOf is the host and port of a URL, for people.
func hostOf(target string) string {
	if u, err := url.Parse(target); err == nil && u.Host != "" {
		return u.Host
	}
	return target
}
