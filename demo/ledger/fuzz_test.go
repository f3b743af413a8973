package ledger

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// FuzzAPI asks the HTTP API whatever may stand in a query.
func FuzzAPI(f *testing.F) {
	for _, query := range []string{
		"", "limit=1", "limit=-1", "limit=99999999999999999999", "trace=" + traceA, "trace=1", "trace=" + strings.ToUpper(traceA), "trace=",
		"request=1", "request=x&trace=1", "limit=1&limit=2", "a=<script>", "%zz", "a;b", "trace=%00", "trace=" + strings.Repeat("0", 1<<10),
	} {
		f.Add(query)
	}
	l := New(Options{Upstreams: upstreams})
	log := "u | " + string(requestLine(1, jaegerHeader(traceA, span(2)), traceA, span(3))) + "\nu | " + string(answeredLine(2, 200, traceA, span(3)))
	if _, err := l.ReadLog(strings.NewReader(log)); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequest(http.MethodGet, "/api/ledger", nil)
		r.URL.RawQuery = query
		w := httptest.NewRecorder()
		l.Handler().ServeHTTP(w, r)
		if w.Code != http.StatusOK && w.Code != http.StatusBadRequest && w.Code != http.StatusNotFound {
			t.Errorf("%q was answered with %d", query, w.Code)
		}
		if !json.Valid(w.Body.Bytes()) || w.Body.Len() > 8<<10 || strings.ContainsAny(w.Body.String(), "<>") ||
			w.Header().Get("Content-Type") != "application/json" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%q was answered with %.200q", query, w.Body)
		}
	})
}
