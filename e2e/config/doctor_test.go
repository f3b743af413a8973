package config

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/promqltest"

	"example.com/grafana-tempo-go-demo/demo/doctor"
)

// age says that Prometheus started half an hour ago.
const age = "\n" + `process_start_time_seconds{job="prometheus"} 1800x240`

// TestTheDoctorCountsParts: what Prometheus makes of the doctor's queries for its link pipeline.
func TestTheDoctorCountsParts(t *testing.T) {
	const a, b = `up{job="live-store",instance="a"} `, "\n" + `up{job="live-store",instance="b"} `
	const kafka = `up{job="distributor"} 1x240` + "\n" + `tempo_distributor_connect_errors_total 7x236 8+2x3`
	for series, want := range map[string]string{ // an hour, with a scrape every 15 s
		a + "1x240" + b + "1x240":             "2 parts up",
		a + "1x240" + b + "1x236 0x3":         "live-store: 1 of 2 up, since about ",
		a + "1x240" + b + "1x236 _x4":         "live-store: 1 of 2 up, since about ",
		a + "1x237 _x3" + b + "1x236 _x4":     "live-store: 0 of 2 up, since about ",
		a + "1x236 _x4" + b + "_x235 1x4":     "1 parts up", // replaced: two for 30 s
		a + "1x236 _x4" + b + "_x230 1x9":     "live-store: 1 of 2 up, since about ",
		a + "1x240" + b + "0x240":             "live-store: 1 of 2 up, for as long as is known",
		a + "1x240" + b + "1x100 _x140" + age: "1 parts up", // of another stack
		kafka:                                 "Kafka does not answer, since about ",
	} {
		t.Run(want, func(t *testing.T) {
			suite, err := promqltest.NewLazyLoader("load 15s\n"+series, promqltest.LazyLoaderOpts{})
			if err != nil {
				t.Fatal(err)
			}
			defer suite.Close()
			now := time.Unix(0, 0).UTC().Add(time.Hour)
			suite.WithSamplesTill(now, func(err error) {
				if err != nil {
					t.Fatal(err)
				}
			})
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				list := []any{}
				switch r.URL.Path {
				case "/api/v1/scrape_pools":
					fmt.Fprint(w, `{"data":{"scrapePools":["distributor"]}}`)
					return
				case "/api/v1/query":
					query := r.URL.Query().Get("query")
					q, err := suite.QueryEngine().NewInstantQuery(r.Context(), suite.Storage(), nil, query, now)
					if err != nil {
						t.Errorf("%s: %v", query, err)
						return
					}
					vector, err := q.Exec(r.Context()).Vector()
					if err != nil {
						t.Errorf("%s: %v", query, err)
					}
					for _, sample := range vector {
						list = append(list, map[string]any{"value": []any{0, fmt.Sprint(sample.F)}})
					}
				}
				_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{"result": list}})
			}))
			defer server.Close()
			report, err := doctor.Run(t.Context(), doctor.Options{
				Kind: doctor.Compose, URLs: map[string]string{"prometheus": server.URL}, Wait: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(report.Links, func(l doctor.Link) bool { return l.Name == "pipeline" })
			if i < 0 || !strings.Contains(report.Links[i].Detail, want) {
				t.Errorf("the links are %+v", report.Links)
			}
		})
	}
}
