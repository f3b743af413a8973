package explorer

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/grafana-tempo-go-demo/demo/collector"
	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/story"
)

// getList asks for a list that must be there.
func getList(t *testing.T, h http.Handler, query string) (l list) {
	t.Helper()
	w := ask(t, h, "GET", "/api/traces?"+query, "", nil)
	if err := json.Unmarshal(w.Body.Bytes(), &l); err != nil || w.Code != http.StatusOK {
		t.Fatalf("answered %d %s", w.Code, w.Body)
	}
	return l
}

// export sends one span to a collector. What is empty is left out.
func export(t *testing.T, c *collector.Collector, trace int, service, host string, ago, lasts time.Duration, failed bool) {
	t.Helper()
	start := time.Now().Add(-ago)
	body := fmt.Sprintf(`{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":%q}}]},"scopeSpans":[{"spans":[
		{"traceId":"%032x","spanId":"000000000000000%d","name":"GET","kind":2,"startTimeUnixNano":"%d","endTimeUnixNano":"%d",
		"attributes":[{"key":"server.address","value":{"stringValue":%q}},{"key":"url.path","value":{"stringValue":"/"}},
		{"key":"url.query","value":{"stringValue":"slow=REDACTED"}}],"status":{"code":%d}}]}]}]}`,
		service, trace, len(service)%8+1, start.UnixNano(), start.Add(lasts).UnixNano(), host, map[bool]int{failed: 2}[true])
	r := httptest.NewRequest(http.MethodPost, "/v1/traces", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	if c.OTLPHandler().ServeHTTP(w, r); w.Code != http.StatusOK {
		t.Fatalf("the collector answered %d %s", w.Code, w.Body)
	}
}

func TestAListIsFiltered(t *testing.T) {
	c := collector.New(slog.New(slog.DiscardHandler))
	store := newFake(t, c.APIHandler().ServeHTTP)
	h := New(Options{Tempo: parse(t, store.URL), Gateway: parse(t, nowhere)})
	if e := getList(t, h, "").Empty; e == nil || e.Title != "No traces yet" ||
		!strings.Contains(e.Text, "not sampled has none") {
		t.Errorf("an empty store: %+v", e)
	}
	export(t, c, 1, "gateway", "uservice1.localhost:8000", 4*time.Minute, time.Second, false)
	export(t, c, 2, "gateway", "uservice3.localhost", 3*time.Minute, 2*time.Second, false) // uservice3 has sent nothing
	export(t, c, 3, "shop", "", 2*time.Minute, 300*time.Millisecond, true)
	export(t, c, 4, `a "b"`, "", time.Minute, 50*time.Millisecond, false)
	export(t, c, 5, "old", "", 25*time.Hour, time.Second, false)
	for query, want := range map[string]string{
		"":                    `a "b", shop, uservice3, uservice1`,
		"service=uservice1":   "uservice1",
		"service=uservice3":   "uservice3",
		"service=gateway":     "uservice3, uservice1",
		"service=shop&errors": "shop",
		"service=a+%22b%22":   `a "b"`,
		"service=hop":         "", // a search finds parts of names
		"service=__proto__":   "",
		"errors":              "shop",
		"min=300ms":           "shop, uservice3, uservice1",
		"min=1%2C5+s":         "uservice3",
		"min=0.01min":         "uservice3, uservice1",
		"min=300":             "shop, uservice3, uservice1",
		"min=1s&errors=":      "",
		"min=soon":            `a "b", shop, uservice3, uservice1`,
		"min=-5s":             `a "b", shop, uservice3, uservice1`,
		"service=old":         "",
	} {
		l := getList(t, h, query)
		titles := []string{}
		for _, row := range l.Traces {
			titles = append(titles, row.Title)
		}
		if got := strings.Join(titles, ", "); got != want {
			t.Errorf("%s: listed %s, want %s", query, got, want)
		}
		problem := query == "min=soon" || query == "min=-5s"
		if problem != (l.MinProblem == "Write a time such as 500ms or 1.5s.") || (want == "") != (l.Empty != nil) {
			t.Errorf("%s: %+v", query, l)
		}
	}
	if e := getList(t, h, "service=old").Empty; e.Title != "No trace matches" {
		t.Errorf("what is older: %+v", e)
	}
	if l := getList(t, h, ""); !slices.Equal(l.Services, []string{`a "b"`, "gateway", "shop"}) || l.Foot != "" {
		t.Errorf("the services are %q, and the foot is %q", l.Services, l.Foot)
	}
	for i := range maxListed {
		export(t, c, 100+i, "many", "", time.Second, time.Millisecond, false)
	}
	if l := getList(t, h, "service=many"); len(l.Traces) != 50 || l.Foot != "These are the newest 50. To find older ones, use the filters or an id." {
		t.Errorf("%d traces, and the foot is %q", len(l.Traces), l.Foot)
	}
}

// TestWhatWasAskedFor has two requests that only their queries tell apart.
func TestWhatWasAskedFor(t *testing.T) {
	c := collector.New(slog.New(slog.DiscardHandler))
	store := newFake(t, c.APIHandler().ServeHTTP)
	export(t, c, 1, "gateway", "uservice1.localhost", time.Minute, time.Second, false)
	export(t, c, 2, "gateway", "cart.example", time.Minute, time.Second, false)
	recorded := []ledger.Request{{Host: "uservice1.localhost:8000", Path: "/", Query: "slow=redis", Traces: []string{fmt.Sprintf("%032x", 1)}},
		{Host: "cart.example", Path: "/cart", Traces: []string{fmt.Sprintf("%032x", 2)}}}
	for _, tc := range []struct {
		kept          Ledger
		want          int
		first, second string
	}{
		{nil, 2, "GET", "GET /?slow=REDACTED"},
		{fakeLedger{"": recorded}, 1, "GET /cart", "GET /?slow=redis"},
	} {
		l := getList(t, New(Options{Tempo: parse(t, store.URL), Gateway: parse(t, nowhere), Ledger: tc.kept}), "")
		missing := story.ListedService{Name: "uservice1", Dark: true}
		if len(l.Traces) != 2 || len(store.asked) != tc.want || l.Traces[1].Services[1] != missing ||
			l.Traces[0].Root != tc.first || l.Traces[1].Root != tc.second {
			t.Errorf("after %d searches, want %d: %+v", len(store.asked), tc.want, l.Traces)
		}
		for len(store.asked) > 0 {
			<-store.asked
		}
	}
}

// TestAnAnswerThatIsNoList has what may stand at the trace store's address.
func TestAnAnswerThatIsNoList(t *testing.T) {
	for name, tc := range map[string]struct {
		status   int
		body     string
		want     int
		sentence string
	}{
		"a login page":        {200, "<html>Log in", 502, "is no Tempo"},
		"the way to one":      {302, "", 502, "is no Tempo"},
		"another API":         {200, `{"status":"success"}`, 502, "is no Tempo"},
		"a refusal":           {403, "no tenant.\nmore", 403, "no tenant."},
		"a refusal of nobody": {429, "", 429, "The answer was 429."},
	} {
		t.Run(name, func(t *testing.T) {
			store := newFake(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "/login")
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, tc.body)
			})
			address := parse(t, strings.Replace(store.URL, "://", "://user:hunter2@", 1))
			w := ask(t, New(Options{Tempo: address, Gateway: parse(t, nowhere)}), "GET", "/api/traces", "", nil)
			says := sentence(t, w)
			if w.Code != tc.want || !strings.Contains(says, tc.sentence) || strings.Contains(says, "hunter2") {
				t.Errorf("answered %d %s", w.Code, w.Body)
			}
			if len(store.asked) != 1 {
				t.Errorf("it was asked %d times", len(store.asked))
			}
		})
	}
}

func TestTheMapReadsATraceOnce(t *testing.T) {
	c := collector.New(slog.New(slog.DiscardHandler))
	store := newFake(t, c.APIHandler().ServeHTTP)
	h := New(Options{Tempo: parse(t, store.URL), Gateway: parse(t, nowhere)})
	export(t, c, 1, "uservice3", "", time.Minute, time.Second, false)
	export(t, c, 2, "uservice4", "", 100*time.Millisecond, time.Millisecond, false) // more of it may come
	for i, want := range []int{2, 1, 2} {
		w, got := ask(t, h, "GET", "/api/map", "", nil), 0
		for len(store.asked) > 0 {
			if r := <-store.asked; strings.HasPrefix(r.URL.Path, "/api/v2/traces/") {
				got++
			}
		}
		if got != want || !strings.Contains(w.Body.String(), "uservice4") {
			t.Errorf("map %d: %d traces read, want %d: %s", i+1, got, want, w.Body)
		}
		if i == 1 {
			export(t, c, 1, "gateway", "", time.Minute, 2*time.Second, false)
		}
	}
}
