package ledger

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/topology"
	"example.com/grafana-tempo-go-demo/demo/traceid"
)

// Marks by which lines that matter are told from all others without parsing them. Text inside of a
// JSON string has its quotes escaped, so that it does not look like one of them.
var (
	markRequest = []byte(`"msg":"request`) // or "request failed"
	markAnswer  = []byte(`"msg":"answer of other service"`)
	markTraefik = []byte(`"DownstreamStatus":`)
)

// serviceLine is what is read of a service's line. The gateway's request lines have no headers, but
// what follows them here.
type serviceLine struct {
	Time    time.Time         `json:"time"`
	Msg     string            `json:"msg"`
	Method  string            `json:"method"`
	Host    string            `json:"host"`
	Path    string            `json:"path"`
	Query   string            `json:"query"`
	TraceID string            `json:"trace_id"`
	SpanID  string            `json:"span_id"`
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers"`

	DurationMS    float64           `json:"duration_ms"`
	Arrived       map[string]string `json:"arrived"`
	Left          map[string]string `json:"left"`
	TraceResponse string            `json:"traceresponse"`
}

// AddLine adds a line that a service has logged, without whatever a log viewer put in front of it,
// and reports whether a request begins with it. It passes over lines that say nothing about a
// request and its headers, at little cost, and over those that it cannot read. It does not keep
// data.
//
// It reads the services' own lines, the access log of Traefik, and the log of the gateway of the
// run without Docker. A caller of AddProxy must not add the proxy's lines too.
func (l *Ledger) AddLine(service string, data []byte) bool {
	if bytes.Contains(data, markTraefik) {
		return l.addTraefik(service, data)
	}
	if !bytes.Contains(data, markRequest) && !bytes.Contains(data, markAnswer) {
		return false
	}
	var in serviceLine
	if json.Unmarshal(data, &in) != nil || !credible(in.Time) {
		return false
	}
	in.TraceID, _ = traceid.Trace(in.TraceID)
	if in.SpanID, _ = traceid.Span(in.SpanID); in.SpanID == "" {
		in.TraceID = ""
	}
	switch {
	case in.Msg == "request" && in.Headers != nil:
		_, forwarded := in.Headers["x-forwarded-server"]
		l.add(&record{
			time: in.Time, name: service, method: in.Method, host: in.Host, path: in.Path, query: in.Query,
			traceID: in.TraceID, spanID: in.SpanID, arrived: decodeLogged(in.Headers), forwarded: forwarded,
		})
		return true
	case in.Msg == "request" && service == topology.Gateway:
		took := time.Duration(in.DurationMS * float64(time.Millisecond))
		l.addProxy(record{
			time: in.Time.Add(-took), duration: took, name: service,
			method: in.Method, host: in.Host, path: in.Path, query: in.Query, service: routed(in.Host),
			traceID: in.TraceID, spanID: in.SpanID, status: in.Status,
			arrived: decodeLogged(in.Arrived), left: decodeLogged(in.Left),
		}, in.TraceResponse)
		return true
	case in.Msg == "answer of other service":
		l.addFollowUp(in.TraceID, in.SpanID, func(r *record) { r.end, r.answered = in.Time, in.Status })
	case in.Msg == "request failed":
		l.addFollowUp(in.TraceID, in.SpanID, func(r *record) { r.end, r.status = in.Time, in.Status })
	}
	return false
}

// routed returns the service to which the gateway sends requests for a host, or nothing.
func routed(host string) string {
	for _, s := range topology.Services() {
		if topology.HostName(host) == s.Host() {
			return s.Name
		}
	}
	return ""
}

// credible reports whether a line can be of this time. Any duration (292 years at most) before or
// after it, the year is still one that JSON can have: 0 to 9999.
func credible(t time.Time) bool { return t.Year() >= 1970 && t.Year() < 9000 }

// addTraefik reads a line of Traefik's access log in JSON (v3.7, pkg/middlewares/accesslog). It has
// headers only if Traefik was told to keep them. request_* are those that the client sent; those
// that left are not in the log, because Traefik puts its own context into a copy.
func (l *Ledger) addTraefik(proxy string, data []byte) bool {
	var in map[string]any
	if json.Unmarshal(data, &in) != nil {
		return false
	}
	text := func(field string) string {
		s, _ := in[field].(string)
		return s
	}
	number := func(field string) float64 {
		n, _ := in[field].(float64)
		return n
	}
	start, err := time.Parse(time.RFC3339, text("StartUTC"))
	if err != nil || !credible(start) {
		return false
	}
	sent := map[string]string{}
	for _, name := range headerNames {
		if value := text("request_" + http.CanonicalHeaderKey(name)); value != "" && value != "REDACTED" {
			sent[name] = value
		}
	}
	if len(sent) == 0 {
		sent = nil // not sent, or not kept
	}
	service, _, _ := strings.Cut(text("ServiceName"), "@") // uservice3@file; none if no route matched
	path, query, _ := strings.Cut(text("RequestPath"), "?")
	l.addProxy(record{
		time: start, duration: time.Duration(number("Duration")), name: proxy, service: service,
		method: text("RequestMethod"), host: text("RequestAddr"), path: path, query: query,
		traceID: text("trace_id"), spanID: text("span_id"), status: int(number("DownstreamStatus")),
		arrived: decodeLogged(sent), selective: true,
	}, text("origin_Traceresponse"))
	return true
}
