package tempo_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"example.com/grafana-tempo-go-demo/demo/tempo"
)

func TestLinesOfATraceFromLoki(t *testing.T) {
	// As Loki 3.7 answers, with the order of its streams.
	const answer = `{"status":"success","data":{"resultType":"streams","result":[
{"stream":{"service_name":"b","trace_id":"1","span_id":"02","severity_text":"Information","severity_number":"9","flags":"1","observed_timestamp":"5"},"values":[["30","late"],["10","early"]]},
{"stream":{"service_name":"a","severity_text":"Notice","headers_host":"h"},"values":[["20","in between"]]},
{"stream":{"detected_level":"ERROR"},"values":[["30","guessed"]]}],"stats":{}}}`
	var asked *http.Request
	says, status := answer, 200
	loki := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r
		w.WriteHeader(status)
		fmt.Fprint(w, says)
	}))
	defer loki.Close()
	c := &tempo.Client{URL: loki.URL, Store: "log store"}
	lines, err := c.Lines(t.Context(), "abc", time.Unix(0, 5), time.Unix(0, 50))
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&got, "%d %s %s %s %s %v\n", l.Time.UnixNano(), l.Service, l.SpanID, l.Severity, l.Text, l.Attributes)
	}
	if want := "10 b 02 info early map[]\n20 a  notice in between map[headers_host:h]\n30 b 02 info late map[]\n30   error guessed map[]\n"; got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
	if got := asked.URL.Query().Encode(); got != "direction=forward&end=50&limit=1000&query=%7Bservice_name%3D~%22.%2B%22%7D+%7C+trace_id%3D%22abc%22&start=5" {
		t.Errorf("asked for %s", got)
	}
	for _, bad := range []string{"<html>", `{"data":{"resultType":"matrix"}}`, `{}`, `{"data":{"resultType":"streams","result":[{"values":[["x","y"]]}]}}`} {
		says = bad
		if _, err := c.Lines(t.Context(), "abc", time.Time{}, time.Time{}); !errors.Is(err, tempo.ErrNotTempo) {
			t.Errorf("%s: got %v", bad, err)
		}
	}
	says, status = "parse error at line 1", 400
	if _, err := c.Lines(t.Context(), "abc", time.Time{}, time.Time{}); err == nil || !strings.Contains(err.Error(), "400 Bad Request: parse error") {
		t.Errorf("a refusal: got %v", err)
	}
	loki.Close()
	if _, err := c.Lines(t.Context(), "abc", time.Time{}, time.Time{}); err == nil || !strings.Contains(err.Error(), "no log store answers at") {
		t.Errorf("nobody there: got %v", err)
	}
}
