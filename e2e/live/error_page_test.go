package live

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"example.com/grafana-tempo-go-demo/e2e/internal/repo"
	"example.com/grafana-tempo-go-demo/e2e/internal/testbed"
)

func TestAnErrorPageLeadsOn(t *testing.T) {
	s := testbed.Shared(t)
	for _, service := range repo.Services {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Gateway.String()+"/?fail=database", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = service + ".localhost"
		res, err := s.Client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		page, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode < 500 {
			t.Errorf("%s answered %s, %v", service, res.Status, err)
		}
		for _, link := range []string{`href="/"`, `href="/?fail=database"`, `href="/?slow=database"`} {
			if !strings.Contains(string(page), link) {
				t.Errorf("%s's error page has no %s: %s", service, link, page)
			}
		}
	}
}
