package explorer

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// BenchmarkAPI asks the explorer what its page asks, over loopback to back ends that answer at
// once.
func BenchmarkAPI(b *testing.B) {
	back := func(body string) *url.URL {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("traceresponse", "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01")
			io.WriteString(w, body)
		}))
		b.Cleanup(server.Close)
		u, err := url.Parse(server.URL)
		if err != nil {
			b.Fatal(err)
		}
		return u
	}
	h := New(Options{
		// As large as a trace of the demo, or twenty search results.
		Tempo:   back(`{"traces":[` + strings.Repeat(`{"traceID":"0123456789abcdef0123456789abcdef"},`, 250) + `{}]}`),
		Gateway: back("Hello, world!"),
	})
	for _, ask := range []struct{ name, method, target, body string }{
		{"page", http.MethodGet, "/", ""},
		{"config", http.MethodGet, "/api/config", ""},
		{"call", http.MethodPost, "/api/call", `{"service":"uservice3"}`},
		{"trace", http.MethodGet, "/tempo/api/v2/traces/0123456789abcdef0123456789abcdef", ""},
	} {
		b.Run(ask.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest(ask.method, ask.target, strings.NewReader(ask.body))
				r.Host = "localhost:3000"
				if ask.method == http.MethodPost {
					r.Header.Set("Content-Type", "application/json")
				}
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				if w.Code != http.StatusOK {
					b.Fatalf("answered %d: %s", w.Code, w.Body)
				}
			}
		})
	}
}
