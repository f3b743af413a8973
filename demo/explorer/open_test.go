package explorer

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
)

func TestWhatIsPastedNamesATrace(t *testing.T) {
	const trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	h := New(Options{Tempo: parse(t, nowhere), Gateway: parse(t, nowhere)})
	for text, want := range map[string]place{
		" " + strings.ToUpper(trace) + "\n": {Trace: trace},
		"1f":                                {Trace: strings.Repeat("0", 30) + "1f"},
		"00-" + trace + "-" + span + "-01":  {trace, span, ""},
		"traceresponse: 00-" + trace + "-" + span + "-00":   {trace, span, ""},
		`"Traceparent":"00-` + trace + "-" + span + `-01",`: {trace, span, ""},
		"uber-trace-id: " + trace + ":" + span + ":0:1":     {trace, span, ""},
		"c80319c:31:0:1":                                        {strings.Repeat("0", 25) + "c80319c", strings.Repeat("0", 14) + "31", ""},
		trace + "%3A" + span + "%3A0%3A1":                       {trace, span, ""},
		`{"trace_id":"` + trace + `","span_id":"` + span + `"}`: {trace, span, ""},
		"http://127.0.0.1:3000/trace/" + trace + "#" + span:     {trace, span, ""},
		"":                         {Problem: "There is no trace id"},
		"xyz":                      {Problem: "There is no trace id"},
		strings.Repeat("0", 32):    {Problem: "There is no trace id"},
		strings.Repeat("1", 33):    {Problem: "There is no trace id"},
		"00-" + trace + "-" + span: {trace, span, ""}, // a header that is cut off
	} {
		var got place
		w := ask(t, h, "GET", "/api/open?text="+url.QueryEscape(text), "", nil)
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 {
			t.Fatalf("%q: answered %d %s", text, w.Code, w.Body)
		}
		if got.Trace != want.Trace || got.Span != want.Span || !strings.HasPrefix(got.Problem, want.Problem) || got.Problem != "" && want.Problem == "" {
			t.Errorf("%q names %+v, want %+v", text, got, want)
		}
	}
}

// TestAFileIsExplained has the answer of a store, and what else people have. The trace store is not asked.
func TestAFileIsExplained(t *testing.T) {
	stored := serve(t, nil, nil)
	whole := ask(t, stored, "GET", "/tempo/api/v2/traces/abc", "", nil).Body.String()
	other := ask(t, stored, "GET", "/tempo/api/v2/traces/abd", "", nil).Body.String()
	both := strings.TrimSuffix(whole, "]}}") + "," + strings.TrimPrefix(other, `{"trace":{"resourceSpans":[`)
	h := New(Options{Tempo: parse(t, nowhere), Gateway: parse(t, nowhere)})
	for name, tc := range map[string]struct{ file, title, says string }{
		"Tempo's":         {whole, "uservice1", ""},
		"of two traces":   {both, "", "its spans are not of one trace."},
		"of no span":      {`{"trace":{}}`, "", "it has no span."},
		"without ids":     {`{"trace":{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"x"}]}]}]}}`, "", "not of one trace."},
		"Jaeger's":        {`{"data":[{"traceID":"1","spans":[]}]}`, "", "it is Jaeger's JSON."},
		"OTLP's":          {`{"resourceSpans":[]}`, "", "it is OTLP's JSON."},
		"Grafana's":       {`{"batches":[]}`, "", "it is the JSON of Grafana"},
		"a picture":       {"\x89PNG", "", "it is no JSON object."},
		"with a null":     {`{"trace":{"resourceSpans":[null]}}`, "", "What is wrong with it:"},
		"broken in Tempo": {`{"trace":{"resourceSpans":7}}`, "", "What is wrong with it:"},
		"far too long":    {strings.Repeat(" ", maxFileBytes+1), "", "more than 32 MiB"},
	} {
		w := ask(t, h, "POST", "/api/file", tc.file, nil)
		var got struct {
			Trace   struct{ Title string }
			Absent  struct{ Texts []string }
			Settled bool
		}
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 || !got.Settled {
			t.Fatalf("%s: answered %d %s", name, w.Code, w.Body)
		}
		if got.Trace.Title != tc.title || !strings.Contains(strings.Join(got.Absent.Texts, " "), tc.says) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
