package compare

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestTheLoadCountsWhatItSees(t *testing.T) {
	for name, test := range map[string]struct {
		serve http.HandlerFunc
		want  string // the error that is counted, or none
	}{
		"all is well": {serve: func(w http.ResponseWriter, r *http.Request) {
			if r.Host != "x.localhost" {
				http.NotFound(w, r)
			}
			w.(http.Flusher).Flush()
			io.WriteString(w, "ok")
		}},
		"a failure": {serve: func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusServiceUnavailable) }, want: "503 Service Unavailable"},
		"no answer": {serve: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, want: "EOF"},
		"an answer cut off": {serve: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9")
		}, want: "unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(test.serve)
			defer server.Close()
			var m measured
			l := load{connections: 2, requests: 6}
			if err := l.run(t.Context(), server.Listener.Addr().String(), "x.localhost", &m.Metrics); err != nil {
				t.Fatal(err)
			}
			success, failures := 1.0, "0 of 6 requests failed: ."
			if test.want != "" {
				success, failures = 0, "6 of 6 requests failed: "+test.want+"."
			}
			if m.Requests != 6 || m.Success != success || m.failures() != failures || (m.Throughput > 0) != (success > 0) {
				t.Errorf("%s %+v", m.failures(), m.Metrics)
			}
		})
	}
}
