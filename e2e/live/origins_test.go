package live

import (
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"example.com/grafana-tempo-go-demo/e2e/internal/testbed"
)

// TestOtherSitesPagesAreKeptOut sends every HTTP server of the no-Docker run the requests that a
// page of another site could send from a browser on this machine.
func TestOtherSitesPagesAreKeptOut(t *testing.T) {
	s := testbed.Shared(t)
	if s.Demo == nil {
		t.Skip("a stack that is up already has servers of other products; this is about ours")
	}
	servers := map[string]string{"gateway": s.Demo.Gateway, "explorer": s.Demo.Explorer, "tempo": s.Demo.Tempo, "otlp-http": s.Demo.OTLPHTTP}
	maps.Copy(servers, s.Demo.Services)
	ask := func(method, address, host, contentType string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		if host != "" {
			req.Host = host
		}
		for name, value := range map[string]string{
			"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site", "Content-Type": contentType, "Accept": "text/html",
			"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type", "Access-Control-Request-Private-Network": "true",
		} {
			req.Header.Set(name, value)
		}
		res, err := s.Client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
		res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		for name := range res.Header {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s %s answers %s: %s", method, address, name, res.Header.Get(name))
			}
		}
		if strings.Contains(string(body), "evil<") || len(body) > 16<<10 {
			t.Errorf("%s %s answers %s", method, address, body)
		}
		return res
	}
	for name, address := range servers {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if ip := net.ParseIP(u.Hostname()); ip == nil || !ip.IsLoopback() {
			t.Errorf("%s listens on %s", name, address)
		}
		paths := map[string]string{"otlp-http": "/v1/traces", "tempo": "/api/search", "explorer": "/api/call"}
		target := address + paths[name]
		// A form, a script's request, and its preflight: none may change anything, or be allowed
		// to.
		for _, contentType := range []string{"text/plain", "application/json"} {
			if res := ask(http.MethodPost, target, "", contentType); res.StatusCode < 400 {
				t.Errorf("%s takes %s of another site: %s", name, contentType, res.Status)
			}
		}
		ask(http.MethodOptions, target, "", "")
		ask(http.MethodGet, target, "", "")
		// DNS rebinding: another site's host name that resolves to 127.0.0.1. The services answer
		// to every name, by design: they are behind the proxy, and know nothing but what the
		// request contains.
		want := map[string]int{"gateway": http.StatusNotFound, "explorer": http.StatusMisdirectedRequest, "tempo": http.StatusMisdirectedRequest, "otlp-http": http.StatusMisdirectedRequest}
		if status := want[name]; status != 0 {
			if res := ask(http.MethodGet, address+"/ready", net.JoinHostPort("evil.example", u.Port()), ""); res.StatusCode != status {
				t.Errorf("%s answers to evil.example: %s, want %d", name, res.Status, status)
			}
		}
	}
}
