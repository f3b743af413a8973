package tour

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"example.com/grafana-tempo-go-demo/demo/tempo"
)

func TestTraceThatNeverComes(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"trace":{}}`) }))
	defer srv.Close()
	_, err := fetch(context.Background(), &tempo.Client{URL: srv.URL}, strings.Repeat("a", 32), 30*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "did not arrive within 30ms") {
		t.Errorf("%v", err)
	}
}
