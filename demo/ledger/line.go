package ledger

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// Messages of the services' log lines that matter here.
const (
	messageRequest  = "request"
	messageAnswered = "answer of other service"
	messageFailed   = "request failed"
)

// Marks by which lines that matter are told from all others without being parsed. A text that stands inside of a JSON
// string has its quotes escaped, and is not taken for one of them.
var (
	markRequest  = []byte(`"msg":"request"`)
	markAnswered = []byte(`"msg":"answer of other service"`)
	markFailed   = []byte(`"msg":"request failed"`)
	markTraefik  = []byte(`"DownstreamStatus":`)
)

// gatewayName is the name under which the no-Docker run's proxy logs.
const gatewayName = "gateway"

// serviceLine is what is read of a service's line. The gateway's has status and duration_ms instead of headers.
type serviceLine struct {
	Time       time.Time         `json:"time"`
	Msg        string            `json:"msg"`
	Method     string            `json:"method"`
	Host       string            `json:"host"`
	Path       string            `json:"path"`
	Query      string            `json:"query"`
	Headers    map[string]string `json:"headers"`
	TraceID    string            `json:"trace_id"`
	SpanID     string            `json:"span_id"`
	Status     int               `json:"status"`
	DurationMS float64           `json:"duration_ms"`
	// Of the gateway, should it log them: the propagation headers by name, and the header of the answer.
	Arrived       map[string]string `json:"arrived"`
	Left          map[string]string `json:"left"`
	TraceResponse string            `json:"traceresponse"`
}

// traefikLine is what is read of a line of Traefik's access log in JSON (v3.7, pkg/middlewares/accesslog). Headers are
// there only if Traefik was told to keep them. request_* are those that the client sent: Traefik sends a copy on, and it
// is the copy that gets its own context. What left is not in the log.
type traefikLine struct {
	StartUTC         time.Time `json:"StartUTC"`
	Duration         int64     `json:"Duration"` // nanoseconds
	RequestMethod    string    `json:"RequestMethod"`
	RequestAddr      string    `json:"RequestAddr"`
	RequestPath      string    `json:"RequestPath"` // with the query
	DownstreamStatus int       `json:"DownstreamStatus"`
	ServiceName      string    `json:"ServiceName"` // such as uservice3@file; absent if no route matched
	TraceID          string    `json:"trace_id"`
	SpanID           string    `json:"span_id"`

	UberTraceID          string `json:"request_Uber-Trace-Id"`
	TraceParent          string `json:"request_Traceparent"`
	TraceState           string `json:"request_Tracestate"`
	Baggage              string `json:"request_Baggage"`
	OriginTraceResponse  string `json:"origin_Traceresponse"`
	ClientsTraceResponse string `json:"downstream_Traceresponse"`
}

// AddLine adds a line that a service has logged, without whatever a log viewer put in front of it. Lines that say nothing
// about a request and its headers are passed over at little cost, and so are those that cannot be read. The line is not
// kept.
//
// It reads the services' own lines, the access log of Traefik, and the log of the no-Docker run's gateway; who calls
// AddProxy must not add that one's lines too.
func (l *Ledger) AddLine(service string, data []byte) { l.addLogLine(service, data) }

// addLogLine tells whether the line was about a request.
func (l *Ledger) addLogLine(service string, data []byte) bool {
	switch {
	case bytes.Contains(data, markTraefik):
		return l.addTraefik(service, data)
	case bytes.Contains(data, markRequest), bytes.Contains(data, markAnswered), bytes.Contains(data, markFailed):
	default:
		return false
	}
	var in serviceLine
	if json.Unmarshal(data, &in) != nil || !credible(in.Time) {
		return false
	}
	in.TraceID, _ = NormalizeTraceID(in.TraceID)
	if in.SpanID = spanIDOf(in.SpanID); in.SpanID == "" {
		in.TraceID = ""
	}
	service = cut(service, 128)
	switch {
	case in.Msg == messageRequest && in.Headers != nil:
		ln := &line{
			time: in.Time, service: service, method: cut(in.Method, 32), host: cut(in.Host, 255),
			path: cut(in.Path, maxValue), query: cut(in.Query, maxValue),
			traceID: in.TraceID, spanID: in.SpanID, headers: []Header{},
		}
		for _, name := range headerNames {
			if value, ok := in.Headers[name]; ok {
				ln.headers = append(ln.headers, decodeJoined(name, value, ", "))
			}
		}
		_, ln.forwarded = in.Headers["x-forwarded-server"]
		l.addLine(ln)
		return true
	case in.Msg == messageRequest && service == gatewayName:
		took := time.Duration(in.DurationMS * float64(time.Millisecond))
		l.AddProxy(ProxyRecord{
			Time: in.Time.Add(-took), Duration: took, Proxy: service,
			Method: in.Method, Host: in.Host, Path: in.Path, Query: in.Query,
			Service: firstLabel(in.Host), guessed: true,
			TraceID: in.TraceID, SpanID: in.SpanID,
			Arrived: headersOf(in.Arrived), Left: headersOf(in.Left),
			Status: in.Status, TraceResponse: in.TraceResponse,
		})
		return true
	case in.TraceID == "":
	case in.Msg == messageAnswered:
		l.addFollowUp(in.TraceID, in.SpanID, func(ln *line) { ln.ended, ln.answered = in.Time, in.Status })
	case in.Msg == messageFailed:
		l.addFollowUp(in.TraceID, in.SpanID, func(ln *line) { ln.ended, ln.failed = in.Time, in.Status })
	}
	return false
}

// credible tells whether a line can be of this time. Any duration (292 years at most) before or after it, the year is still
// one of those that JSON can have, which are 0 to 9999.
func credible(t time.Time) bool { return t.Year() >= 1970 && t.Year() < 9000 }

func (l *Ledger) addTraefik(proxy string, data []byte) bool {
	var in traefikLine
	if json.Unmarshal(data, &in) != nil || !credible(in.StartUTC) {
		return false
	}
	service, _, _ := strings.Cut(in.ServiceName, "@")
	path, query, _ := strings.Cut(in.RequestPath, "?")
	r := ProxyRecord{
		Time: in.StartUTC, Duration: time.Duration(in.Duration), Proxy: proxy,
		Method: in.RequestMethod, Host: in.RequestAddr, Path: path, Query: query,
		Service: service, TraceID: in.TraceID, SpanID: in.SpanID,
		Status: in.DownstreamStatus, TraceResponse: in.OriginTraceResponse,
	}
	if r.TraceResponse == "" {
		r.TraceResponse = in.ClientsTraceResponse
	}
	for name, value := range map[string]string{
		UberTraceID: in.UberTraceID, TraceParent: in.TraceParent, TraceState: in.TraceState, Baggage: in.Baggage,
	} {
		if value == "" || value == "REDACTED" {
			continue
		}
		if r.Arrived == nil {
			r.Arrived = http.Header{}
		}
		r.Arrived.Set(name, value)
	}
	r.selective = r.Arrived == nil
	l.AddProxy(r)
	return true
}

// headersOf turns a group of a log line into headers; nil stays nil.
func headersOf(group map[string]string) http.Header {
	if group == nil {
		return nil
	}
	headers := http.Header{}
	for _, name := range headerNames {
		if value, ok := group[name]; ok {
			headers.Set(name, value)
		}
	}
	return headers
}

// firstLabel returns uservice3 of uservice3.localhost:8000.
func firstLabel(host string) string {
	label, _, _ := strings.Cut(host, ".")
	return strings.ToLower(label)
}
