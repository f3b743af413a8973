package collector

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	collogspb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetricspb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/proto"
)

// newLine makes a log line; ids are numbers, of which 0 is none, and at is in nanoseconds.
func newLine(trace, span, at uint64, text string, attributes ...any) *logspb.LogRecord {
	s := newSpan(trace, span, 0, "", 0, 0)
	return &logspb.LogRecord{TraceId: s.TraceId, SpanId: s.SpanId, TimeUnixNano: at, Body: value(text), Attributes: attrs(attributes...),
		SeverityText: "WARN", SeverityNumber: logspb.SeverityNumber_SEVERITY_NUMBER_WARN}
}

func logs(service string, lines ...*logspb.LogRecord) *collogspb.ExportLogsServiceRequest {
	return &collogspb.ExportLogsServiceRequest{ResourceLogs: []*logspb.ResourceLogs{{
		Resource:  &resourcepb.Resource{Attributes: attrs("service.name", service)},
		ScopeLogs: []*logspb.ScopeLogs{{LogRecords: lines}},
	}}}
}

// linesOf asks for a trace's lines, as service: text, and returns them with their labels.
func linesOf(t *testing.T, c *Collector, trace uint64, more string) (texts string, labels []map[string]string) {
	t.Helper()
	w := get(c.APIHandler(), "/loki/api/v1/query_range?direction=forward&query="+
		url.QueryEscape(fmt.Sprintf(`{service_name=~".+"} | trace_id="%032x"`, trace))+more)
	var answer struct {
		Status string
		Data   struct{ Result []stream }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.Status != "success" || answer.Data.Result == nil {
		t.Fatalf("got %d %s", w.Code, w.Body)
	}
	for _, s := range answer.Data.Result {
		texts += fmt.Sprintf("%s %s: %s; ", s.Values[0][0], s.Stream["service_name"], s.Values[0][1])
		labels = append(labels, s.Stream)
	}
	return texts, labels
}

func TestLogLinesAreKeptWithTheirTrace(t *testing.T) {
	c := New(discard)
	late, observed := newLine(1, 2, 30, "late"), newLine(1, 0, 0, "observed")
	observed.ObservedTimeUnixNano = 20
	client := collogspb.NewLogsServiceClient(dial(t, c))
	for range 2 { // an exporter that missed the answer
		if res, err := client.Export(t.Context(), logs("a", late, newLine(1, 2, 10, "early", "http.route", "/x", "n", 5, "list", []any{"y", true}))); err != nil || res.PartialSuccess != nil {
			t.Fatalf("gRPC: %v, %v", res, err)
		}
	}
	if w := postTo(c.OTLPHandler(), "/v1/logs", contentProtobuf, wire(t, logs("b", observed, newLine(2, 0, 1, "another trace's")))); w.Code != 200 || w.Body.Len() != 0 {
		t.Fatalf("HTTP: %d %s", w.Code, w.Body)
	}
	w := postTo(c.OTLPHandler(), "/v1/logs", contentJSON, []byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"40","eventName":"e","traceId":"`+
		strings.Repeat("0", 31)+`1","body":{"kvlistValue":{"values":[{"key":"k","value":{"intValue":"1"}}]}},`+
		`"attributes":[{"key":"headers","value":{"kvlistValue":{"values":[{"key":"host","value":{"stringValue":"h"}}]}}}]}]}]}]}`))
	if w.Code != 200 || w.Body.String() != "{}" {
		t.Fatalf("JSON: %d %s", w.Code, w.Body)
	}
	texts, labels := linesOf(t, c, 1, "")
	if want := `10 a: early; 20 b: observed; 30 a: late; 40 : {"k":1}; `; texts != want {
		t.Fatalf("got %s, want %s", texts, want)
	}
	for i, want := range map[int]string{
		0: "map[http.route:/x list:[\"y\",true] n:5 service_name:a severity_number:13 severity_text:WARN span_id:0000000000000002 trace_id:00000000000000000000000000000001]",
		1: "map[service_name:b severity_number:13 severity_text:WARN trace_id:00000000000000000000000000000001]",
		3: "map[event_name:e headers.host:h trace_id:00000000000000000000000000000001]",
	} {
		if got := fmt.Sprint(labels[i]); got != want {
			t.Errorf("line %d: got %s\nwant %s", i, got, want)
		}
	}
	for more, want := range map[string]string{"&limit=1": "10 a: early; ", "&start=20&end=40": "20 b: observed; 30 a: late; "} {
		if texts, _ := linesOf(t, c, 1, more); texts != want {
			t.Errorf("%s: got %s", more, texts)
		}
	}
	if texts, _ := linesOf(t, c, 9, ""); texts != "" {
		t.Errorf("of an unknown trace: %s", texts)
	}
	if w := get(c.APIHandler(), searchPath("{}")); strings.Contains(w.Body.String(), "traceID") {
		t.Errorf("lines without spans are found as traces: %s", w.Body)
	}
}

func TestWhatIsNotKeptIsSaid(t *testing.T) {
	full := newLine(1, 0, 1, strings.Repeat("x", 30_000))
	points := []*metricspb.NumberDataPoint{{}, {}}
	metrics := &colmetricspb.ExportMetricsServiceRequest{ResourceMetrics: []*metricspb.ResourceMetrics{{ScopeMetrics: []*metricspb.ScopeMetrics{{Metrics: []*metricspb.Metric{
		{Data: &metricspb.Metric_Gauge{Gauge: &metricspb.Gauge{DataPoints: points}}},
		{Data: &metricspb.Metric_Histogram{Histogram: &metricspb.Histogram{DataPoints: []*metricspb.HistogramDataPoint{{}}}}},
	}}}}}}
	for name, test := range map[string]struct {
		req  *collogspb.ExportLogsServiceRequest
		n    int64
		says string
	}{
		"lines without a trace id":        {logs("mine", &logspb.LogRecord{}, newLine(0, 0, 1, "zeros"), newLine(1, 0, 1, "kept")), 2, "2 log lines have no trace id"},
		"the same of the demo's services": {logs("uservice3", &logspb.LogRecord{}), 0, ""},
		"a trace that is full":            {logs("mine", full, &logspb.LogRecord{}), 2, "1 log lines dropped: a trace may take 25000 bytes"},
	} {
		w := postTo(sized(100_000).OTLPHandler(), "/v1/logs", contentProtobuf, wire(t, test.req))
		res := &collogspb.ExportLogsServiceResponse{}
		if err := proto.Unmarshal(w.Body.Bytes(), res); err != nil || w.Code != 200 {
			t.Fatalf("%s: %d %s", name, w.Code, w.Body)
		}
		if p := res.GetPartialSuccess(); p.GetRejectedLogRecords() != test.n || !strings.Contains(p.GetErrorMessage(), test.says) {
			t.Errorf("%s: got %v", name, p)
		}
	}
	short := newLine(1, 2, 1, "x")
	short.SpanId = short.SpanId[1:]
	if w := postTo(New(discard).OTLPHandler(), "/v1/logs", contentProtobuf, wire(t, logs("mine", short))); w.Code != 400 || !strings.Contains(w.Body.String(), "logRecords[0]: span ids must be empty or 64 bit") {
		t.Errorf("a short id: got %d %s", w.Code, w.Body)
	}
	res, err := colmetricspb.NewMetricsServiceClient(dial(t, New(discard))).Export(t.Context(), metrics)
	if p := res.GetPartialSuccess(); err != nil || p.GetRejectedDataPoints() != 3 || !strings.Contains(p.GetErrorMessage(), "metrics are not kept") {
		t.Errorf("metrics over gRPC: %v, %v", res, err)
	}
	if w := postTo(New(discard).OTLPHandler(), "/v1/metrics", contentJSON, []byte(`{}`)); w.Code != 200 || !strings.Contains(w.Body.String(), "metrics are not kept") {
		t.Errorf("metrics in JSON: %d %s", w.Code, w.Body)
	}
	for _, query := range []string{"", `query={app="x"}`, `direction=backward&query={service_name=~".%2b"}|trace_id="` + wholeTrace + `"`} {
		if w := get(New(discard).APIHandler(), "/loki/api/v1/query_range?"+strings.ReplaceAll(query, " ", "%20")); w.Code != 400 || !strings.Contains(w.Body.String(), "this collector answers {service_name") {
			t.Errorf("%s: got %d %s", query, w.Code, w.Body)
		}
	}
}

func TestLinesAreBoundedLikeSpans(t *testing.T) {
	c := sized(60_000)
	for n := range uint64(20) {
		postTo(c.OTLPHandler(), "/v1/logs", contentProtobuf, wire(t, logs(fmt.Sprint("s", n), newLine(n+1, 0, 1, strings.Repeat("x", 1000)))))
	}
	if c.store.get(idOf(1)) != nil || c.store.get(idOf(20)) == nil {
		t.Error("the oldest is there, or the newest is not")
	}
	checkStore(t, c)
}
