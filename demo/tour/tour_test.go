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

func TestTraceID(t *testing.T) {
	const id = "0af7651916cd43dd8448eb211c80319c"
	for header, want := range map[string]string{
		"00-" + id + "-b7ad6b7169203331-01": id, "": "", "00-" + id: "", "00-XX-b7ad6b7169203331-01": "",
		"00-" + strings.Repeat("z", 32) + "-b7ad6b7169203331-01": "",
	} {
		if got, err := traceID(header); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v", header, got, err)
		}
	}
}

func TestTraceThatNeverComes(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"trace":{}}`) }))
	defer srv.Close()
	_, _, err := fetch(context.Background(), &tempo.Client{URL: srv.URL}, strings.Repeat("a", 32), 30*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "did not arrive within 30ms") {
		t.Errorf("%v", err)
	}
}
