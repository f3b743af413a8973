package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	slash "path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"go.yaml.in/yaml/v3"
)

// dashboard is as much of Grafana's JSON as the tests look at.
type dashboard struct {
	file          string
	ID            *int
	UID           string
	Title         string
	SchemaVersion int
	Links         []struct{ Title, URL string }
	Templating    struct {
		List []struct {
			Name, Regex string
			Datasource  sourceRef
			Query       struct{ Query string }
			AllValue    string
			IncludeAll  bool
		}
	}
	Panels []panel
}

type panel struct {
	ID          int
	Type, Title string
	Description string
	GridPos     struct{ X, Y, W, H int }
	Datasource  sourceRef
	Targets     []target
	Options     struct{ Content string }
	FieldConfig struct {
		Defaults struct {
			Links []struct{ Title, URL string }
		}
	}
}

type target struct {
	RefID      string
	Datasource sourceRef
	Expr       string // PromQL or LogQL
	Query      string // TraceQL
	QueryType  string
	Instant    bool
	Exemplar   bool
}

type sourceRef struct{ Type, UID string }

// dashboards returns all that Grafana is given.
func dashboards(t *testing.T) []dashboard {
	t.Helper()
	var all []dashboard
	for _, name := range files(t, "conf/grafana/dashboards", "*.json") {
		d := dashboard{file: name}
		if err := json.Unmarshal(read(t, "conf/grafana/dashboards/"+name), &d); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, d)
	}
	return all
}

func TestGrafanaFindsTheDashboards(t *testing.T) {
	var conf struct {
		Providers []struct{ Options struct{ Path string } }
	}
	if err := yaml.Unmarshal(read(t, "conf/grafana/providers/providers.yaml"), &conf); err != nil {
		t.Fatal(err)
	}
	grafana := composeProject(t, nil).Services["grafana"]
	mounts := map[string]string{}
	for _, volume := range grafana.Volumes {
		mounts[volume.Target] = volume.Source
	}
	if len(conf.Providers) != 1 {
		t.Fatalf("providers: %+v", conf.Providers)
	}
	folder := conf.Providers[0].Options.Path
	if !strings.HasSuffix(mounts[folder], "conf/grafana/dashboards") || strings.HasPrefix(folder, "/etc/grafana/provisioning") {
		t.Errorf("dashboards are looked for in %s, where %q is mounted", folder, mounts[folder])
	}
	if !strings.HasSuffix(mounts["/etc/grafana/provisioning/dashboards"], "conf/grafana/providers") {
		t.Errorf("Grafana does not find the provider: %v", mounts)
	}
	home := variable(grafana, "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH")
	if slash.Dir(home) != folder || len(read(t, "conf/grafana/dashboards/"+slash.Base(home))) == 0 {
		t.Errorf("the home page is %s, want a file of %s", home, folder)
	}
}

// variables matches a variable in a query or in a text, in Grafana's forms that the dashboards use.
var variables = regexp.MustCompile(`\$(\w+)|\$\{(\w+)\}`)

func TestDashboardsResolve(t *testing.T) {
	sources := grafanaSources(t)
	resolve := newResolver(t)
	seen := map[string]bool{}
	for _, d := range dashboards(t) {
		t.Run(d.file, func(t *testing.T) {
			if d.ID != nil || d.UID == "" || seen[d.UID] || d.SchemaVersion == 0 {
				t.Errorf("id %v, uid %q, schemaVersion %d: want no id and a uid of its own", d.ID, d.UID, d.SchemaVersion)
			}
			seen[d.UID] = true
			ids := map[int]bool{}
			source := func(where string, ref sourceRef) {
				if found, ok := sources[ref.UID]; !ok || found.Type != ref.Type {
					t.Errorf("%s: there is no data source %+v", where, ref)
				}
			}
			known := map[string]bool{"__rate_interval": true, "__auto": true, "1": true} // 1 is a group of label_replace
			used := map[string]bool{}
			uses := func(where, text string) {
				for _, found := range variables.FindAllStringSubmatch(text, -1) {
					name := found[1] + found[2]
					if used[name] = true; !known[name] {
						t.Errorf("%s: there is no variable $%s", where, name)
					}
				}
			}
			for _, v := range d.Templating.List {
				known[v.Name] = true
				source(v.Name, v.Datasource)
				if _, err := regexp.Compile(strings.Trim(v.Regex, "/")); err != nil {
					t.Errorf("%s: %v", v.Name, err)
				}
			}
			for _, link := range d.Links {
				resolve(t, d.Title, link.URL)
			}
			for _, p := range d.Panels {
				where := fmt.Sprintf("panel %d, %q", p.ID, p.Title)
				if ids[p.ID] || p.ID == 0 || p.GridPos.W < 1 || p.GridPos.X+p.GridPos.W > 24 {
					t.Errorf("%s: its id is not its own, or it does not fit: %+v", where, p.GridPos)
				}
				ids[p.ID] = true
				for _, other := range d.Panels {
					a, b := p.GridPos, other.GridPos
					if other.ID != p.ID && a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
						t.Errorf("%s overlaps panel %d", where, other.ID)
					}
				}
				uses(where, p.Options.Content)
				for _, found := range regexp.MustCompile(`\]\(([^)]*)\)`).FindAllStringSubmatch(p.Options.Content, -1) {
					resolve(t, where, found[1])
				}
				for _, link := range p.FieldConfig.Defaults.Links {
					resolve(t, where, link.URL)
				}
				if p.Type == "row" || p.Type == "text" {
					continue
				}
				if source(where, p.Datasource); len(p.Targets) == 0 || p.Description == "" {
					t.Errorf("%s has no query, or no description", where)
				}
				for _, q := range p.Targets {
					if source(where, q.Datasource); q.Datasource != p.Datasource {
						t.Errorf("%s asks %+v and %+v", where, p.Datasource, q.Datasource)
					}
					uses(where, q.Expr+q.Query)
					if q.Datasource.Type == "prometheus" {
						if _, err := parser.NewParser(parser.Options{}).ParseExpr(substitute(d, q.Expr)); err != nil {
							t.Errorf("%s: %v", where, err)
						}
					}
				}
			}
			for _, v := range d.Templating.List {
				if !used[v.Name] {
					t.Errorf("nothing uses the variable $%s", v.Name)
				}
			}
		})
	}
}

// newResolver returns a check of a link of a dashboard or an alert: it leads to a dashboard, to Explore, to a page of
// Grafana that there is, or to a service by its host name.
func newResolver(t *testing.T) func(t *testing.T, where, link string) {
	sources := grafanaSources(t)
	boards := map[string]bool{}
	for _, d := range dashboards(t) {
		boards[d.UID] = true
	}
	return func(t *testing.T, where, link string) {
		t.Helper()
		for _, name := range services {
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
				Queries    []target
				Range      struct{ From, To string }
			}
			if err := json.Unmarshal([]byte(u.Query().Get("panes")), &panes); err != nil || u.Query().Get("schemaVersion") != "1" || u.Query().Get("orgId") != "1" || len(panes) != 1 {
				t.Errorf("%s: %s is no link of Explore: %v", where, link, err)
			}
			for key, pane := range panes {
				if len(key) != 3 || len(pane.Queries) != 1 || pane.Range.From == "" || pane.Range.To == "" {
					t.Fatalf("%s: the pane %q is %+v", where, key, pane)
				}
				q := pane.Queries[0]
				if pane.Datasource != q.Datasource.UID || sources[pane.Datasource].Type != q.Datasource.Type || q.Datasource.Type == "" {
					t.Errorf("%s: the pane's data source is %q, the query's %+v", where, pane.Datasource, q.Datasource)
				}
				if q.Expr+q.Query == "" && q.QueryType != "serviceMap" {
					t.Errorf("%s: %s asks nothing", where, link)
				}
			}
		default:
			t.Errorf("%s: %s is no page that is known", where, link)
		}
	}
}

func TestAlertsSayWhereToLookNext(t *testing.T) {
	resolve := newResolver(t)
	const grafana = "{{ $externalLabels.grafana }}"
	rules := alertingRules(loadRules(t, &rules.ManagerOptions{}, labels.EmptyLabels(), "../conf/prometheus/alerts.yaml"))
	if len(rules) == 0 {
		t.Error("there are no alerts")
	}
	for _, rule := range rules {
		link, ok := strings.CutPrefix(rule.Annotations().Get("link"), grafana)
		if !ok {
			t.Errorf("%s: its link does not follow GRAFANA_PORT: %s", rule.Name(), link)
		}
		resolve(t, rule.Name(), strings.NewReplacer("{{ $labels.service }}", "uservice3").Replace(link))
		if rule.Annotations().Get("summary") == "" {
			t.Errorf("%s says nothing", rule.Name())
		}
	}
}

// TestTheTraceIDHasOneName: whoever writes it and whoever follows it call it trace_id, or a click leads nowhere.
func TestTheTraceIDHasOneName(t *testing.T) {
	const name = "trace_id"
	for _, folder := range []string{"uservice3", "uservice4", "prober"} {
		if !strings.Contains(string(read(t, folder+"/otel.go")), `slog.String("`+name+`",`) {
			t.Errorf("%s: log lines have no %s", folder, name)
		}
	}
	if !strings.Contains(string(read(t, "conf/tempo.yaml")), "trace_id_label_name: "+name+"\n") {
		t.Errorf("Tempo's exemplars have no %s", name)
	}
	sources := grafanaSources(t)
	first := func(source, list string) map[string]any {
		values, _ := sources[source].JSONData[list].([]any)
		if len(values) == 0 {
			t.Fatalf("%s has no %s", source, list)
		}
		fields, _ := values[0].(map[string]any)
		return fields
	}
	if got := first("prometheus", "exemplarTraceIdDestinations"); got["name"] != name || got["datasourceUid"] != "tempo" {
		t.Errorf("from an exemplar to its trace: %v", got)
	}
	derived := first("loki", "derivedFields")
	if want := map[string]any{
		"name": "Trace", "matcherType": "label", "matcherRegex": "^" + name + "$$", "url": "$${__value.raw}",
		"urlDisplayLabel": "Open the trace", "datasourceUid": "tempo",
	}; !maps.Equal(derived, want) {
		t.Errorf("from a log line to its trace: %v, want %v", derived, want)
	}
	logs, _ := sources["tempo"].JSONData["tracesToLogsV2"].(map[string]any)
	tag := map[string]any{"key": "service.name", "value": "service_name"}
	tags, _ := logs["tags"].([]any)
	if got, _ := tags[0].(map[string]any); logs["datasourceUid"] != "loki" || logs["customQuery"] != true || !maps.Equal(got, tag) ||
		logs["query"] != `{$${__tags}} | `+name+`="$${__trace.traceId}"` {
		t.Errorf("from a span to its log lines: %v", logs)
	}
	metrics, _ := sources["tempo"].JSONData["tracesToMetrics"].(map[string]any)
	tags, _ = metrics["tags"].([]any)
	if got, _ := tags[0].(map[string]any); metrics["datasourceUid"] != "prometheus" || got["key"] != "service.name" || got["value"] != "service" {
		t.Errorf("from a span to its metrics: %v", metrics)
	}
	// Other spellings lead nowhere, but for the exemplars of others.
	for _, folder := range []string{"conf/grafana/datasources", "conf/grafana/dashboards", "conf/prometheus"} {
		for _, file := range files(t, folder, "*") {
			for i, line := range strings.Split(string(read(t, folder+"/"+file)), "\n") {
				code, _, _ := strings.Cut(line, "# ")
				if regexp.MustCompile(`(?i)\btraceid\b`).MatchString(strings.ReplaceAll(code, "__trace.traceId", "")) && !strings.Contains(code, "- name: traceID") {
					t.Errorf("%s/%s:%d: %s", folder, file, i+1, line)
				}
			}
		}
	}
}

// substitute puts values for a dashboard's variables into a query, as Grafana does.
func substitute(d dashboard, query string) string {
	values := map[string]string{"__rate_interval": "1m", "__auto": "1m", "1": "$1"}
	for _, v := range d.Templating.List {
		values[v.Name] = v.AllValue
	}
	return variables.ReplaceAllStringFunc(query, func(found string) string { return values[strings.Trim(found, "${}")] })
}

// TestDashboardQueriesOnTheRealBackends asks a stack that has had traffic for two minutes. With E2E_GATEWAY_URL it makes the
// error itself that the panel of errors needs.
func TestDashboardQueriesOnTheRealBackends(t *testing.T) {
	backends := map[string]string{"prometheus": os.Getenv("E2E_PROMETHEUS_URL"), "loki": os.Getenv("E2E_LOKI_URL"), "tempo": os.Getenv("E2E_TEMPO_URL")}
	if backends["prometheus"] == "" || backends["loki"] == "" || backends["tempo"] == "" {
		t.Skip("set E2E_PROMETHEUS_URL, E2E_LOKI_URL and E2E_TEMPO_URL to a stack that is up")
	}
	if gateway := os.Getenv("E2E_GATEWAY_URL"); gateway != "" {
		s, err := newStack(gateway, backends["tempo"])
		if err != nil {
			t.Fatal(err)
		}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.gateway.JoinPath("/").String()+"?fail=redis", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Host = "uservice3.localhost"
		response, err := s.client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
	}
	client := &http.Client{Timeout: patience}
	for _, d := range dashboards(t) {
		for _, v := range d.Templating.List {
			expr, ok := strings.CutPrefix(v.Query.Query, "query_result(")
			if ok {
				expr = strings.TrimSuffix(expr, ")")
			} else if list, isList := strings.CutPrefix(v.Query.Query, "label_values("); isList {
				metric, label, _ := strings.Cut(strings.TrimSuffix(list, ")"), ", ")
				expr = "group by (" + label + ") (" + metric + ")"
			}
			t.Run(d.Title+"/$"+v.Name, func(t *testing.T) {
				answers(t, client, backends["prometheus"]+"/api/v1/query", url.Values{"query": {expr}})
			})
		}
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				t.Run(d.Title+"/"+p.Title+"/"+q.RefID, func(t *testing.T) {
					query := substitute(d, q.Expr+q.Query)
					now := time.Now()
					span := url.Values{"start": {fmt.Sprint(now.Add(-5 * time.Minute).Unix())}, "end": {fmt.Sprint(now.Unix())}, "step": {"15"}}
					switch {
					case q.Datasource.Type == "prometheus" && q.Instant:
						answers(t, client, backends["prometheus"]+"/api/v1/query", url.Values{"query": {query}})
					case q.Datasource.Type == "prometheus":
						span.Set("query", query)
						answers(t, client, backends["prometheus"]+"/api/v1/query_range", span)
						if q.Exemplar {
							if got := answers(t, client, backends["prometheus"]+"/api/v1/query_exemplars", span); !strings.Contains(got, `"trace_id":`) {
								t.Errorf("no exemplar has a trace_id: %.300s", got)
							}
						}
					case q.Datasource.Type == "loki":
						span.Set("query", query)
						answers(t, client, backends["loki"]+"/loki/api/v1/query_range", span)
					case q.QueryType == "serviceMap": // Grafana draws it from these
						for _, metric := range []string{"request_total", "request_failed_total", "request_server_seconds_sum", "request_client_seconds_bucket"} {
							answers(t, client, backends["prometheus"]+"/api/v1/query", url.Values{
								"query": {"sum by (client, server) (increase(traces_service_graph_" + metric + "[5m]))"}})
						}
					default:
						span.Set("q", query)
						answers(t, client, backends["tempo"]+"/api/search", span)
					}
				})
			}
		}
	}
}

// answers asks until there is data, and returns the answer. What has just happened takes a few seconds to be found, and an
// interval of Prometheus to be counted.
func answers(t *testing.T, client *http.Client, endpoint string, query url.Values) string {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, endpoint+"?"+query.Encode(), nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if response.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s: %.300s", query.Get("query")+query.Get("q"), response.Status, body)
		}
		var answer struct {
			Data   json.RawMessage // a list, or an object with the list
			Traces []any
		}
		if err := json.Unmarshal(body, &answer); err != nil {
			t.Fatalf("%v: %.300s", err, body)
		}
		var list []any
		if json.Unmarshal(answer.Data, &list) != nil {
			var data struct{ Result []any }
			_ = json.Unmarshal(answer.Data, &data)
			list = data.Result
		}
		if len(list)+len(answer.Traces) > 0 {
			return string(body)
		}
		if time.Now().After(deadline) {
			t.Fatalf("no data: %s", query.Get("query")+query.Get("q"))
		}
		select {
		case <-time.After(time.Second):
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
		if query.Has("end") {
			query.Set("end", fmt.Sprint(time.Now().Unix()))
		}
	}
}
