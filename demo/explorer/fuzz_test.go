package explorer

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"example.com/grafana-tempo-go-demo/demo/lab"
	"example.com/grafana-tempo-go-demo/demo/local"
)

// roundTrip stands in for the network between the page and what is behind it.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// FuzzRequest asks the explorer for whatever may stand in a request line, a Host header and a body.
// Behind it are a Tempo, of which it may reach two paths, and a proxy, of which it may reach one.
func FuzzRequest(f *testing.F) {
	const id = "0123456789abcdef0123456789abcdef"
	for _, seed := range []struct{ method, target, host, body string }{
		{"GET", "/", "localhost:3000", ""}, {"GET", "/trace/" + id, "127.0.0.1:3000", ""}, {"GET", "/assets/app.js", "localhost", ""},
		{"GET", "/tempo/ready", "localhost", ""}, {"GET", "/tempo/api/search?q=%7B%7D&limit=5", "localhost", ""},
		{"GET", "/tempo/api/v2/traces/" + id + "?start=1", "localhost", ""}, {"GET", "/tempo/api/traces/..%2f..%2fflush", "localhost", ""},
		{"GET", "/tempo/../flush", "localhost", ""}, {"GET", "//evil.example/tempo/ready", "localhost", ""}, {"GET", "/tempo//evil.example/", "localhost", ""},
		{"GET", "/trace/<script>", "localhost", ""}, {"GET", "/<script>?<script>", "localhost", ""}, {"GET", "/", "evil.example", ""},
		{"GET", "/api/faults", "localhost", ""}, {"POST", "/api/faults", "localhost", `{"name":"drop-header"}`}, {"POST", "/api/faults", "localhost", `{"name":"<script>"}`},
		{"GET", "/api/traces?service=%22%7D&min=1.5s&errors&window=24h", "localhost", ""}, {"GET", "/api/traces?min=%00", "localhost", ""},
		{"GET", "/api/faults/all", "localhost", ""}, {"POST", "/api/faults", "localhost", `{"do":"begin"}`}, {"POST", "/api/faults", "localhost", `{"do":"guess","name":"<script>"}`},
		{"POST", "/api/call", "localhost", `{"service":"uservice3","fail":"redis"}`}, {"POST", "/api/call", "localhost", `{"service":"../../flush"}`},
		{"POST", "/api/call", "localhost", `{"service":"uservice3","service":"<b>"}`}, {"POST", "/api/call", "localhost", "\xff"}, {"DELETE", "/tempo/ready", "localhost", ""},
		{"CONNECT", "/", "localhost", ""}, {"GET", "/api/config", "[::1]", ""},
	} {
		f.Add(seed.method, seed.target, seed.host, seed.body)
	}
	allowed := regexp.MustCompile(`^/(api/search|api/v2/traces/[0-9a-fA-F]{1,32})$`)
	var reached []*http.Request
	behind := roundTrip(func(r *http.Request) (*http.Response, error) {
		reached = append(reached, r)
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}, "Set-Cookie": {"a=1"}},
			Body: io.NopCloser(strings.NewReader(`{}`)), Request: r}, nil
	})
	o := Options{Tempo: &url.URL{Scheme: "http", Host: "tempo:3200"}, Gateway: &url.URL{Scheme: "http", Host: "gateway:8000"}, Faults: lab.New(cannotMend, 7)}
	h := newHandler(o, &http.Client{Transport: behind})
	f.Fuzz(func(t *testing.T, method, target, host, body string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || u.Host != "" || !strings.HasPrefix(u.Path, "/") { // what net/http refuses, or no browser asks of a server
			return
		}
		reached = nil
		r := httptest.NewRequest(http.MethodGet, "/", strings.NewReader(body))
		r.Method, r.URL, r.RequestURI, r.Host = method, u, target, host
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)

		for _, r := range reached {
			switch r.URL.Host {
			case "tempo:3200":
				if r.Method != method || method != http.MethodGet && method != http.MethodHead || !allowed.MatchString(r.URL.Path) {
					if r.URL.Path != "/api/search" { // the page's configuration asks on its own
						t.Errorf("%s %s reaches %s %s of Tempo", method, target, r.Method, r.URL)
					}
				}
			case "gateway:8000":
				if r.Method != http.MethodGet || r.URL.Path != "/" || !slices.Contains([]string{"uservice1.localhost:8000", "uservice2.localhost:8000", "uservice3.localhost:8000", "uservice4.localhost:8000"}, r.Host) {
					t.Errorf("%s %s %s reaches %s %s of the proxy", method, target, body, r.Host, r.URL)
				}
			default:
				t.Errorf("%s %s reaches %s", method, target, r.URL)
			}
		}
		if !local.Named(r) && (w.Code != http.StatusMisdirectedRequest || len(reached) > 0) {
			t.Errorf("%q was answered with %d", host, w.Code)
		}
		header, answer := w.Header(), w.Body.Bytes()
		if header.Get("X-Content-Type-Options") != "nosniff" || header.Get("Content-Security-Policy") == "" || header.Get("Set-Cookie") != "" {
			t.Errorf("%s %s: answered with %v", method, target, header)
		}
		switch mediaType, _, _ := strings.Cut(header.Get("Content-Type"), ";"); {
		case mediaType == "text/html" && w.Code/100 == 3: // a redirect to the cleaned path, escaped by net/http
			if location := header.Get("Location"); !strings.HasPrefix(location, "/") || strings.HasPrefix(location, "//") || strings.HasPrefix(location, `/\`) {
				t.Errorf("%s %s leads to %q", method, target, location)
			}
		case mediaType == "text/html":
			if !bytes.Equal(answer, index) {
				t.Errorf("%s %s makes another page: %s", method, target, answer)
			}
		case mediaType == "application/json":
			if len(answer) > 16<<10 || !json.Valid(answer) && len(answer) > 0 {
				t.Errorf("%s %s: answered %.200q", method, target, answer)
			}
		}
	})
}
