package explorer

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"example.com/grafana-tempo-go-demo/demo/tempo"
)

const evil = `<script>alert(1)<\/script>`

// backend is a Tempo with one trace, whose names are hostile; broken makes it answer 500.
func backend(t *testing.T, broken *bool) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case *broken:
			http.Error(w, "no", http.StatusInternalServerError)
		case r.URL.Path == "/api/search":
			fmt.Fprintf(w, `{"traces":[{"traceID":"a1","rootServiceName":"%s","rootTraceName":"GET","startTimeUnixNano":"1767323045000000000","durationMs":1710}]}`, evil)
		case strings.HasSuffix(r.URL.Path, "a1"):
			fmt.Fprintf(w, `{"trace":{"resourceSpans":[{"resource":{},"scopeSpans":[{"spans":[{"traceId":"AAAAAAAAAAAAAAAAAAAAoQ==","spanId":"AAAAAAAAAAE=",
				"name":"%s","startTimeUnixNano":"1767323045000000000","endTimeUnixNano":"1767323046000000000","kind":"SPAN_KIND_SERVER","status":{}}]}]}]}}`, evil)
		default:
			fmt.Fprint(w, `{"trace":{}}`)
		}
	}))
	t.Cleanup(srv.Close)
	return srv
}

func TestPages(t *testing.T) {
	broken := false
	h := New(Options{
		Tempo:   &tempo.Client{URL: backend(t, &broken).URL},
		Gateway: "http://127.0.0.1:8000", Hosts: []string{"uservice3.localhost"},
	})
	id := strings.Repeat("0", 30) + "a1"
	for _, tc := range []struct {
		name, path string
		broken     bool
		status     int
		want       string
	}{
		{"the list links to traces by their full id", "/", false, 200, `href="/trace/` + id + `"`},
		{"the list links to the services", "/", false, 200, `href="http://uservice3.localhost:8000/"`},
		{"the list refreshes itself", "/", false, 200, `http-equiv="refresh"`},
		{"a trace is drawn, and its names are text", "/trace/" + id, false, 200, `&lt;script&gt;`},
		{"a short id is the same trace", "/trace/A1", false, 200, "1 span"},
		{"an unknown trace may still come", "/trace/beef", false, 404, `http-equiv="refresh"`},
		{"what is no id", "/trace/%3Cscript%3E", false, 404, "Not a trace id"},
		{"another page", "/nix", false, 404, "No such page"},
		{"the back end is gone", "/", true, 502, "keeps asking"},
		{"the back end is gone under a trace", "/trace/" + id, true, 502, "keeps asking"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			broken = tc.broken
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, tc.path, nil))
			if rec.Code != tc.status || !strings.Contains(rec.Body.String(), tc.want) {
				t.Errorf("got %d\n%s", rec.Code, rec.Body)
			}
			if strings.Contains(rec.Body.String(), "<script") {
				t.Errorf("not escaped: %s", rec.Body)
			}
			if rec.Header().Get("Content-Security-Policy") == "" || rec.Header().Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("headers %v", rec.Header())
			}
		})
	}
}
