package tour

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"example.com/grafana-tempo-go-demo/demo/collector"
	"example.com/grafana-tempo-go-demo/demo/explorer"
	"example.com/grafana-tempo-go-demo/demo/story"
	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/demo/visit"
)

// sameSpan is a span to send: its number, its parent's, kind (2 server, 3 client), status (2 failed),
// start and end in microseconds, and one attribute.
type sameSpan struct {
	service, name                        string
	n, parent, kind, status, start, ends int
	attribute                            string
}

// TestAllSayTheSame sends traces of which page, tour and doctor once said different things.
func TestAllSayTheSame(t *testing.T) {
	const id = "0af7651916cd43dd8448eb211c80319c"
	server := sameSpan{"uservice3", "handle_incoming_call", 1, 0, 2, 0, 0, 1556700, ""}
	failed := server
	failed.status = 2
	for _, tc := range []struct {
		name   string
		spans  []sameSpan
		took   []string // each span
		shares string   // by service
		origin string   // of the error
		says   string
	}{
		{"a time that one rounded and another cut", []sameSpan{server, {"uservice3", "redis_call", 2, 1, 3, 0, 0, 149700, "db.system.name"}},
			[]string{"1.55 s", "149 ms"}, "uservice3 100 %", "", "90 % of the time went into handle_incoming_call of uservice3: 1.40 s."},
		{"a call by its old attribute", []sameSpan{server, {"uservice3", "other_uservice_call", 2, 1, 3, 0, 556700, 1556700, "http.method"}},
			[]string{"1.55 s", "1.00 s"}, "unexplained 64 %, uservice3 36 %", "", "1.00 s unexplained, 64 % of the total."},
		{"an error behind an answer", []sameSpan{failed, {"uservice3", "other_uservice_call", 2, 1, 3, 2, 0, 1556700, "http.response.status_code"}},
			[]string{"1.55 s", "1.55 s"}, "unexplained 100 %, uservice3 0.0 %", "", "other_uservice_call of uservice3 failed. No span here says where the error began."},
		{"an error of its own", []sameSpan{failed, {"uservice3", "redis_call", 2, 1, 3, 2, 0, 9999, "db.system.name"}},
			[]string{"1.55 s", "9.99 ms"}, "uservice3 100 %", "redis_call", "The error began in redis_call of uservice3."},
		{"a lost span in between", []sameSpan{server, {"uservice4", "database_call", 3, 2, 2, 0, 0, 1556700, ""}},
			[]string{"1.55 s", "1.55 s"}, "uservice3 50 %, uservice4 50 %", "", "50 % of the time went into handle_incoming_call of uservice3: 778 ms."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			store := collector.New(slog.New(slog.DiscardHandler))
			for _, s := range tc.spans {
				attributes := ""
				if s.attribute != "" {
					attributes = fmt.Sprintf(`{"key":%q,"value":{"stringValue":"200"}}`, s.attribute)
				}
				parent := ""
				if s.parent > 0 {
					parent = fmt.Sprintf("%016x", s.parent)
				}
				const base = 1795980000000000000
				body := fmt.Sprintf(`{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":%q}}]},"scopeSpans":[{"spans":[
					{"traceId":%q,"spanId":"%016x","parentSpanId":%q,"name":%q,"kind":%d,"status":{"code":%d},"startTimeUnixNano":"%d","endTimeUnixNano":"%d","attributes":[%s]}]}]}]}`,
					s.service, id, s.n, parent, s.name, s.kind, s.status, base+s.start*1000, base+s.ends*1000, attributes)
				r := httptest.NewRequest(http.MethodPost, "/v1/traces", strings.NewReader(body))
				r.Header.Set("Content-Type", "application/json")
				w := httptest.NewRecorder()
				if store.OTLPHandler().ServeHTTP(w, r); w.Code != http.StatusOK {
					t.Fatal(w.Body)
				}
			}
			api := httptest.NewServer(store.APIHandler())
			defer api.Close()
			address, _ := url.Parse(api.URL)

			// The page.
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodGet, "/api/trace/"+id, nil)
			r.Host = "localhost"
			explorer.New(explorer.Options{Tempo: address, Gateway: address}).ServeHTTP(w, r)
			var page struct {
				Trace struct {
					Spans []struct {
						Name     string
						Duration struct{ Text string }
						Origin   bool
					}
					ByService []struct{ Service, Name, Percent string } `json:"by_service"`
				}
			}
			if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil {
				t.Fatal(err)
			}
			origin, shares := "", []string{}
			for i, s := range page.Trace.Spans {
				if s.Duration.Text != tc.took[i] {
					t.Errorf("the page says that %s took %s, want %s", s.Name, s.Duration.Text, tc.took[i])
				}
				if s.Origin {
					origin = s.Name
				}
			}
			for _, row := range page.Trace.ByService {
				name := row.Service
				if name == "" {
					name = row.Name
				}
				shares = append(shares, name+" "+row.Percent)
			}
			if got := strings.Join(shares, ", "); got != tc.shares || origin != tc.origin {
				t.Errorf("the page has the shares %s and the origin %q, want %s and %q", got, origin, tc.shares, tc.origin)
			}

			// The tour.
			trace, err := (&tempo.Client{URL: api.URL}).Trace(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			told := story.Tell(trace, story.Options{})
			report := Report{Plain: Call{Answer: &visit.Answer{}}, Instrumented: Call{Answer: &visit.Answer{}, Trace: told}}
			var text bytes.Buffer
			if err := report.Text(&text); err != nil {
				t.Fatal(err)
			}
			for _, took := range tc.took {
				if !strings.Contains(text.String(), took) {
					t.Errorf("the tour does not say %s:\n%s", took, &text)
				}
			}
			if !strings.Contains(strings.Join(strings.Fields(text.String()), " "), tc.says) || !strings.Contains(w.Body.String(), strings.Fields(tc.says)[0]) {
				t.Errorf("the tour does not say %q: %s", tc.says, &text)
			}

			// The doctor.
			name := ""
			if s := story.ErrorOrigin(trace); s != nil {
				name = s.Name
			}
			if name != tc.origin {
				t.Errorf("the doctor says that the error began in %q, want %q", name, tc.origin)
			}
		})
	}
}
