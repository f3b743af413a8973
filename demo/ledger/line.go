package ledger

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"example.com/grafana-tempo-go-demo/demo/header"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// A service begins a line with inVain once a minute while it sends telemetry in vain, and with again
// when that is over.
const (
	inVain = "telemetry does not reach the back end"
	again  = "telemetry reaches the back end again"
)

// logLine is a line of the gateway or of a service.
type logLine struct {
	Record
	Time           time.Time      `json:"time"` // when the line was written
	Msg            string         `json:"msg"`
	Headers        header.Headers `json:"headers"` // all that a service received
	DurationMS     float64        `json:"duration_ms"`
	What, Endpoint string         // which telemetry is sent in vain, and to where
}

// AddLine adds a line of a log, without whatever a log viewer put in front of it: a service's, of
// Traefik's access log, or of the gateway of the run without Docker. It passes over lines that say
// nothing of a request or of telemetry, and over those that it cannot read: read is false then. It
// does not keep data. A caller of AddProxy must not add the gateway's lines too.
func (l *Ledger) AddLine(service string, data []byte) (read bool) {
	if service == "traefik" {
		return l.addTraefik(data)
	}
	var in logLine
	if json.Unmarshal(data, &in) != nil || !credible(in.Time) {
		return false
	}
	r := in.Record
	r.Name, r.Time = service, in.Time
	l.mu.Lock()
	defer l.mu.Unlock()
	own, earlier := l.services[service], l.spans[r.TraceID+r.SpanID]
	switch spans := in.What == "spans"; {
	case in.Msg == "request" && in.Headers != nil:
		r.Arrived = in.Headers
		_, r.forwarded = in.Headers["x-forwarded-server"]
		l.add(&r)
	case in.Msg == "request" && service == topology.Gateway:
		r.gateway, r.Duration = true, time.Duration(in.DurationMS*float64(time.Millisecond))
		r.Time = in.Time.Add(-r.Duration)
		if r.Left != nil { // it was sent on
			r.Service = topology.ServiceOf(in.Host)
		}
		l.add(&r)
	case in.Msg == "answer of other service" && earlier != nil:
		earlier.end, earlier.answered, l.changed = in.Time, in.Status, true
	case in.Msg == "request failed" && earlier != nil:
		earlier.end, earlier.Status, l.changed = in.Time, in.Status, true
	case in.Msg == "listening":
		l.services[service] = Telemetry{Started: in.Time}
	case spans && strings.HasPrefix(in.Msg, inVain):
		l.services[service] = Telemetry{Started: own.Started, Vain: header.Cut(in.Endpoint, maxText), Back: own.Back}
	case spans && strings.HasPrefix(in.Msg, again):
		l.services[service] = Telemetry{Started: own.Started, Back: in.Time}
	}
	return true
}

// credible reports whether a line can be of this time. Any duration (292 years at most) before or
// after it, the year is still one that JSON can have: 0 to 9999.
func credible(t time.Time) bool { return t.Year() >= 1970 && t.Year() < 9000 }

// addTraefik adds a line of Traefik's access log in JSON (v3.7, pkg/middlewares/accesslog). Its
// request_* are headers of the client, if Traefik was told to keep them. Those that left are not
// there: Traefik puts its own context into a copy.
func (l *Ledger) addTraefik(data []byte) bool {
	in := gjson.ParseBytes(data)
	start := in.Get("StartUTC").Time()
	if !json.Valid(data) || !credible(start) {
		return false
	}
	arrived := header.Headers{}
	for _, name := range header.Names {
		if value := in.Get("request_" + http.CanonicalHeaderKey(name)).String(); value != "" && value != "REDACTED" {
			arrived[name] = value
		}
	}
	if len(arrived) == 0 {
		arrived = nil // not sent, or not kept
	}
	service, _, _ := strings.Cut(in.Get("ServiceName").String(), "@") // uservice3@file; none if no route matched
	path, query, _ := strings.Cut(in.Get("RequestPath").String(), "?")
	l.mu.Lock()
	defer l.mu.Unlock()
	l.add(&Record{
		gateway: true, Time: start, Duration: time.Duration(in.Get("Duration").Int()), Name: "traefik", Service: service,
		Method: in.Get("RequestMethod").String(), Host: in.Get("RequestAddr").String(), Path: path, Query: query,
		TraceID: in.Get("trace_id").String(), SpanID: in.Get("span_id").String(), Arrived: arrived,
		Status: int(in.Get("DownstreamStatus").Int()), TraceResponse: in.Get("origin_Traceresponse").String(),
	})
	return true
}
