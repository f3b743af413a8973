package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	slash "path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"

	"example.com/grafana-tempo-go-demo/e2e/internal/compose"
	"example.com/grafana-tempo-go-demo/e2e/internal/grafana"
	"example.com/grafana-tempo-go-demo/e2e/internal/repo"
)

func TestFoldersAreMountedWhereTheyAreLookedFor(t *testing.T) {
	services := compose.Project(t, nil).Services
	var conf struct {
		APIVersion int `yaml:"apiVersion"`
		Providers  []struct {
			Name, Type, Folder    string
			AllowUIUpdates        bool `yaml:"allowUiUpdates"`
			DisableDeletion       bool `yaml:"disableDeletion"`
			UpdateIntervalSeconds int  `yaml:"updateIntervalSeconds"`
			Options               struct{ Path string }
		}
	}
	decode(t, "conf/grafana/providers/providers.yaml", &conf)
	home := compose.Variable(services["grafana"], "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH")
	repo.Read(t, "conf/grafana/dashboards/"+slash.Base(home))
	for _, test := range []struct{ service, folder, source string }{
		{"grafana", conf.Providers[0].Options.Path, "conf/grafana/dashboards"},
		{"grafana", slash.Dir(home), "conf/grafana/dashboards"},
		// Loki calls its one tenant fake when it asks for none.
		{"loki", leaves(t, "conf/loki.yaml")["common.storage.filesystem.rules_directory"] + "/fake", "conf/loki"},
	} {
		if !slices.ContainsFunc(services[test.service].Volumes, func(v types.ServiceVolumeConfig) bool {
			return v.Target == test.folder && strings.HasSuffix(v.Source, test.source)
		}) {
			t.Errorf("%s looks in %s, where %s is not mounted", test.service, test.folder, test.source)
		}
	}
}

// TestDashboardsHaveGrafanasFields: Grafana ignores others in silence. What the types call required it fills in itself.
func TestDashboardsHaveGrafanasFields(t *testing.T) {
	plugins.RegisterDefaultPlugins()
	for _, name := range repo.Files(t, "conf/grafana/dashboards", "*.json") {
		var errs cog.BuildErrors
		board := new(dashboard.Dashboard) //nolint:staticcheck // our files have the first version of the schema, which Grafana 12 reads
		if err := board.UnmarshalJSONStrict(repo.Read(t, "conf/grafana/dashboards/"+name)); err != nil && !errors.As(err, &errs) {
			t.Errorf("%s: %v", name, err)
		}
		for _, err := range errs {
			if !strings.HasPrefix(err.Message, "required field") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestDashboardsResolve(t *testing.T) {
	sources := grafanaSources(t)
	resolve := newResolver(t)
	for _, d := range grafana.Dashboards(t) {
		t.Run(d.File, func(t *testing.T) {
			source := func(where string, ref grafana.SourceRef) {
				if found, ok := sources[ref.UID]; !ok || found.Type != ref.Type {
					t.Errorf("%s: there is no data source %+v", where, ref)
				}
			}
			known := map[string]bool{"__rate_interval": true, "__interval": true, "1": true} // 1 is a group of label_replace
			uses := func(where, text string) {
				for _, found := range grafana.Variables.FindAllStringSubmatch(text, -1) {
					if name := found[1] + found[2]; !known[name] {
						t.Errorf("%s: there is no variable $%s", where, name)
					}
				}
			}
			for _, v := range d.Templating.List {
				known[v.Name] = true
				source(v.Name, v.Datasource)
			}
			for _, link := range d.Links {
				resolve(t, d.Title, link.URL)
			}
			for _, p := range d.Panels {
				where := fmt.Sprintf("panel %d, %q", p.ID, p.Title)
				uses(where, p.Options.Content)
				for _, found := range regexp.MustCompile(`\]\(([^)]*)\)`).FindAllStringSubmatch(p.Options.Content, -1) {
					resolve(t, where, found[1])
				}
				for _, link := range p.FieldConfig.Defaults.Links {
					resolve(t, where, link.URL)
				}
				for _, q := range p.Targets {
					source(where, q.Datasource)
					uses(where, q.Expr+q.Query)
					if strings.HasPrefix(p.Title, "Latest") && !strings.HasSuffix(q.Query, "with (most_recent=true)") {
						t.Errorf("%s: without most_recent, Tempo returns the traces that it finds first: %s", where, q.Query)
					}
					if q.Datasource.Type == "prometheus" {
						if _, err := parser.NewParser(parser.Options{}).ParseExpr(d.Substitute(q.Expr)); err != nil {
							t.Errorf("%s: %v", where, err)
						}
					}
				}
			}
		})
	}
}

// newResolver returns a check for the links of dashboards and alerts: a link leads to a dashboard,
// to Explore, to another page of Grafana, or to a service by its host name.
func newResolver(t *testing.T) func(t *testing.T, where, link string) {
	sources := grafanaSources(t)
	boards := map[string]bool{}
	for _, d := range grafana.Dashboards(t) {
		boards[d.UID] = true
	}
	return func(t *testing.T, where, link string) {
		t.Helper()
		for _, name := range repo.Services {
			page, ok := strings.CutPrefix(link, "http://"+name+".localhost:${proxy_port}/")
			if ok && slices.Contains([]string{"", "?fail=redis", "?fail=database", "?slow=redis", "?slow=database"}, page) {
				return
			}
		}
		u, err := url.Parse(link)
		switch {
		case err != nil || u.Host != "":
			t.Errorf("%s: %s leads to no service, and nothing else has an address of its own", where, link)
		case u.Path == "/alerting/list":
		case strings.HasPrefix(u.Path, "/d/"):
			if !boards[strings.TrimPrefix(u.Path, "/d/")] {
				t.Errorf("%s: there is no dashboard %s", where, u.Path)
			}
		case u.Path == "/explore":
			var panes map[string]struct {
				Datasource string
				Queries    []grafana.Target
				Range      struct{ From, To string }
			}
			query := u.Query()
			err := json.Unmarshal([]byte(query.Get("panes")), &panes)
			if err != nil || query.Get("schemaVersion") != "1" || query.Get("orgId") != "1" || len(panes) != 1 {
				t.Errorf("%s: %s is no link of Explore: %v", where, link, err)
			}
			for key, pane := range panes {
				if len(key) != 3 || len(pane.Queries) != 1 || pane.Range.From == "" || pane.Range.To == "" {
					t.Fatalf("%s: the pane %q is %+v", where, key, pane)
				}
				q := pane.Queries[0]
				of := q.Datasource
				if pane.Datasource != of.UID || sources[of.UID].Type != of.Type || of.Type == "" ||
					q.Expr+q.Query == "" && q.QueryType != "serviceMap" {
					t.Errorf("%s: %s asks nothing, or of %q and %+v", where, link, pane.Datasource, of)
				}
			}
		default:
			t.Errorf("%s: %s is no page that is known", where, link)
		}
	}
}

func TestAlertsSayWhereToLookNext(t *testing.T) {
	resolve := newResolver(t)
	const prefix = "{{ $externalLabels.grafana }}"
	annotations := map[string]map[string]string{}
	for _, rule := range alertingRules(loadRules(t, &rules.ManagerOptions{}, labels.EmptyLabels())) {
		annotations[rule.Name()] = rule.Annotations().Map()
	}
	var loki rulefmt.RuleGroups // only Loki itself can parse their LogQL
	decode(t, "conf/loki/alerts.yaml", &loki)
	for _, group := range loki.Groups {
		for _, rule := range group.Rules {
			annotations[rule.Alert] = rule.Annotations
		}
	}
	labels := strings.NewReplacer("{{ $labels.service }}", "uservice3", "{{ $labels.target }}", "uservice3.localhost",
		"{{ $labels.service_name }}", "uservice3")
	for name, annotation := range annotations {
		link, ok := strings.CutPrefix(annotation["link"], prefix)
		if !ok {
			t.Errorf("%s: its link does not follow GRAFANA_PORT: %s", name, link)
		}
		resolve(t, name, labels.Replace(link))
		if annotation["summary"] == "" {
			t.Errorf("%s says nothing", name)
		}
	}
}

// TestTheTraceIDHasOneName: what Tempo writes and what Grafana follows is called trace_id, as in the
// services' log lines, or links break.
func TestTheTraceIDHasOneName(t *testing.T) {
	const name = "trace_id"
	if got := leaves(t, "conf/tempo.yaml")["overrides.defaults.metrics_generator.trace_id_label_name"]; got != name {
		t.Errorf("Tempo's exemplars have %q", got)
	}
	sources := grafanaSources(t)
	prometheus, loki, tempo := sources["prometheus"].JSONData, sources["loki"].JSONData, sources["tempo"].JSONData
	for what, test := range map[string]struct {
		value any
		want  string
	}{
		"from an exemplar to its trace":   {prometheus.ExemplarTraceIDDestinations, "Name:" + name},
		"from a log line to its trace":    {loki.DerivedFields, "MatcherType:label MatcherRegex:^" + name + "$$"},
		"what the tour tells to click":    {loki.DerivedFields, "URLDisplayLabel:Open the trace"},
		"from a span to its log lines":    {tempo.TracesToLogs, `| ` + name + `="$${__trace.traceId}"`},
		"to the log lines of its service": {tempo.TracesToLogs, "Tags:[{Key:service.name Value:service_name}]"},
		"from a span to its metrics":      {tempo.TracesToMetrics, "Tags:[{Key:service.name Value:service}]"},
		"from the traces to their graph":  {tempo.ServiceMap, "DatasourceUID:prometheus"},
	} {
		if got := fmt.Sprintf("%+v", test.value); !strings.Contains(got, test.want) {
			t.Errorf("%s: %s, want %s", what, got, test.want)
		}
	}
}
