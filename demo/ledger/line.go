package ledger

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
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
	markListens = []byte(`"msg":"listening"`)
	markVain    = []byte(`"msg":"telemetry does not reach the back end`)
)

// serviceLine is a line of the gateway, or of a service, which has Headers and less of the rest.
type serviceLine struct {
	ProxyRecord
	Time       time.Time `json:"time"` // when the line was written
	Msg        string    `json:"msg"`
	Headers    Headers   `json:"headers"`
	DurationMS float64   `json:"duration_ms"`
}

// traefikLine is a line of Traefik's access log in JSON (v3.7, pkg/middlewares/accesslog). Its
// request_* are headers of the client, if Traefik was told to keep them. Those that left are not
// there: Traefik puts its own context into a copy.
type traefikLine struct {
	StartUTC                                             time.Time
	Duration                                             time.Duration
	DownstreamStatus                                     int
	ServiceName, RequestMethod, RequestAddr, RequestPath string
	TraceID                                              string `json:"trace_id"`
	SpanID                                               string `json:"span_id"`
	UberTraceID                                          string `json:"request_Uber-Trace-Id"`
	TraceParent                                          string `json:"request_Traceparent"`
	TraceState                                           string `json:"request_Tracestate"`
	Baggage                                              string `json:"request_Baggage"`
	TraceResponse                                        string `json:"origin_Traceresponse"`
}

// AddLine adds a line that a service has logged, without whatever a log viewer put in front of it.
// It passes over lines that say nothing about a request and its headers, at little cost, and over
// those that it cannot read. It does not keep data.
//
// It reads the services' own lines, the access log of Traefik, and the log of the gateway of the
// run without Docker. A caller of AddProxy must not add the gateway's lines too.
func (l *Ledger) AddLine(service string, data []byte) {
	if bytes.Contains(data, markTraefik) {
		l.addTraefik(service, data)
		return
	}
	if bytes.Contains(data, markListens) || bytes.Contains(data, markVain) {
		l.addTelemetry(service, data)
		return
	}
	if !bytes.Contains(data, markRequest) && !bytes.Contains(data, markAnswer) {
		return
	}
	var in serviceLine
	if json.Unmarshal(data, &in) != nil || !credible(in.Time) {
		return
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
			traceID: in.TraceID, spanID: in.SpanID, arrived: decodeAll(in.Headers), forwarded: forwarded,
		})
	case in.Msg == "request" && service == topology.Gateway:
		r := in.ProxyRecord
		r.Duration = time.Duration(in.DurationMS * float64(time.Millisecond))
		r.Time, r.Proxy = in.Time.Add(-r.Duration), service
		host := topology.HostName(in.Host)
		if slices.ContainsFunc(topology.Services(), func(s topology.Service) bool { return s.Host() == host }) {
			r.Service = topology.ServiceOf(host)
		}
		l.AddProxy(r)
	case in.Msg == "answer of other service":
		l.addFollowUp(in.TraceID, in.SpanID, func(r *record) { r.end, r.answered = in.Time, in.Status })
	case in.Msg == "request failed":
		l.addFollowUp(in.TraceID, in.SpanID, func(r *record) { r.end, r.status = in.Time, in.Status })
	}
}

// credible reports whether a line can be of this time. Any duration (292 years at most) before or
// after it, the year is still one that JSON can have: 0 to 9999.
func credible(t time.Time) bool { return t.Year() >= 1970 && t.Year() < 9000 }

// addTelemetry adds a line in which a service says that it has started, or that it sends spans in vain.
func (l *Ledger) addTelemetry(service string, data []byte) {
	var in struct {
		Time                time.Time
		Msg, What, Endpoint string
	}
	if json.Unmarshal(data, &in) != nil || !credible(in.Time) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch own := l.services[service]; {
	case in.Msg == "listening":
		l.services[service] = Telemetry{Started: in.Time}
	case in.What == "spans":
		own.Vain = cut(in.Endpoint, maxValue)
		l.services[service] = own
	}
}

// addTraefik adds a line of Traefik's access log.
func (l *Ledger) addTraefik(proxy string, data []byte) {
	var in traefikLine
	if json.Unmarshal(data, &in) != nil || !credible(in.StartUTC) {
		return
	}
	sent := Headers{UberTraceID: in.UberTraceID, TraceParent: in.TraceParent, TraceState: in.TraceState, Baggage: in.Baggage}
	maps.DeleteFunc(sent, func(_, value string) bool { return value == "" || value == "REDACTED" })
	if len(sent) == 0 {
		sent = nil // not sent, or not kept
	}
	service, _, _ := strings.Cut(in.ServiceName, "@") // uservice3@file; none if no route matched
	path, query, _ := strings.Cut(in.RequestPath, "?")
	l.AddProxy(ProxyRecord{
		Time: in.StartUTC, Duration: in.Duration, Proxy: proxy, Service: service,
		Method: in.RequestMethod, Host: in.RequestAddr, Path: path, Query: query,
		TraceID: in.TraceID, SpanID: in.SpanID, Status: in.DownstreamStatus,
		Arrived: sent, TraceResponse: in.TraceResponse,
	})
}
