package live

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"example.com/grafana-tempo-go-demo/e2e/internal/grafana"
	"example.com/grafana-tempo-go-demo/e2e/internal/testbed"
)

// TestDashboardQueriesOnTheRealBackends needs a stack that has had traffic for two minutes. With
// E2E_GATEWAY_URL it makes the error that the panel of errors shows.
func TestDashboardQueriesOnTheRealBackends(t *testing.T) {
	backends := map[string]string{"prometheus": os.Getenv("E2E_PROMETHEUS_URL"), "loki": os.Getenv("E2E_LOKI_URL"), "tempo": os.Getenv("E2E_TEMPO_URL")}
	if backends["prometheus"] == "" || backends["loki"] == "" || backends["tempo"] == "" {
		t.Skip("set E2E_PROMETHEUS_URL, E2E_LOKI_URL and E2E_TEMPO_URL to a stack that is up")
	}
	if os.Getenv("E2E_GATEWAY_URL") != "" {
		testbed.Shared(t).Get(t, "uservice3.localhost", "/?fail=redis", "")
	}
	client := &http.Client{Timeout: testbed.Timeout}
	for name, endpoint := range map[string]string{"prometheus": "/api/v1/rules", "loki": "/prometheus/api/v1/rules"} {
		t.Run("rules of "+name, func(t *testing.T) {
			response, err := client.Get(backends[name] + endpoint)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			var rules struct {
				Data struct {
					Groups []struct {
						Rules []struct{ Name, Health, LastError string }
					}
				}
			}
			if err := json.NewDecoder(response.Body).Decode(&rules); err != nil || len(rules.Data.Groups) == 0 {
				t.Fatalf("%v: %+v", err, rules)
			}
			for _, group := range rules.Data.Groups {
				for _, rule := range group.Rules {
					if rule.Health != "ok" {
						t.Errorf("%s is %s: %s", rule.Name, rule.Health, rule.LastError)
					}
				}
			}
		})
	}
	for _, d := range grafana.Dashboards(t) {
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
					query := d.Substitute(q.Expr + q.Query)
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

// answers repeats a query until there is data, and returns the answer. New data takes a few seconds
// to be found, and Prometheus counts it after its next scrape.
func answers(t *testing.T, client *http.Client, endpoint string, query url.Values) string {
	t.Helper()
	deadline := time.Now().Add(testbed.Timeout)
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
