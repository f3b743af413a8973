// Package grafana reads the dashboards in conf/grafana/dashboards.
package grafana

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"example.com/grafana-tempo-go-demo/e2e/internal/repo"
)

// Dashboard has the fields of Grafana's JSON that the tests use.
type Dashboard struct {
	File       string `json:"-"` // its name, without the folder
	UID        string
	Title      string
	Links      []struct{ Title, URL string }
	Templating struct {
		List []struct {
			Name       string
			Datasource SourceRef
			Query      struct{ Query string }
			AllValue   string
		}
	}
	Panels []Panel
}

// Panel is one panel, row or text of a dashboard.
type Panel struct {
	ID          int
	Type, Title string
	Datasource  SourceRef
	Targets     []Target
	Options     struct{ Content string }
	FieldConfig struct {
		Defaults struct {
			Links []struct{ Title, URL string }
		}
	}
}

// Target is a query of a panel.
type Target struct {
	RefID      string
	Datasource SourceRef
	Expr       string // PromQL or LogQL
	Query      string // TraceQL
	QueryType  string
	Instant    bool
	Exemplar   bool
}

// SourceRef names a data source.
type SourceRef struct{ Type, UID string }

// Variables matches a variable in a query or in a text, in the forms that the dashboards use: $name
// and ${name}.
var Variables = regexp.MustCompile(`\$(\w+)|\$\{(\w+)\}`)

// Dashboards returns all that Grafana is given.
func Dashboards(t *testing.T) []Dashboard {
	t.Helper()
	var all []Dashboard
	for _, name := range repo.Files(t, "conf/grafana/dashboards", "*.json") {
		d := Dashboard{File: name}
		if err := json.Unmarshal(repo.Read(t, "conf/grafana/dashboards/"+name), &d); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, d)
	}
	return all
}

// Substitute puts values for the dashboard's variables into a query, as Grafana does.
func (d Dashboard) Substitute(query string) string {
	values := map[string]string{"__rate_interval": "1m", "__interval": "1m", "1": "$1"}
	for _, v := range d.Templating.List {
		values[v.Name] = v.AllValue
	}
	return Variables.ReplaceAllStringFunc(query, func(found string) string { return values[strings.Trim(found, "${}")] })
}
