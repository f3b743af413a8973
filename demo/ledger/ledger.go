package ledger

import (
	"sync"
	"time"

	"example.com/grafana-tempo-go-demo/demo/topology"
	"example.com/grafana-tempo-go-demo/demo/traceid"
)

// DefaultMaxRecords is how many of the gateway's records a running demo keeps.
const DefaultMaxRecords = 2048

// ProxyRecord is one request as the gateway saw it. What is zero or nil was not recorded. The run
// without Docker logs it under the names of its tags.
type ProxyRecord struct {
	Time     time.Time     `json:"-"` // when the request arrived
	Duration time.Duration `json:"-"` // how long its answer took
	Proxy    string        `json:"-"` // the gateway's name: gateway or traefik
	Service  string        `json:"-"` // to which it sent the request on, if it did
	Agent    string        `json:"-"` // the client's User-Agent, by which a client finds its own request
	Method   string        `json:"method"`
	Host     string        `json:"host"` // with or without port
	Path     string        `json:"path"`
	Query    string        `json:"query"`
	TraceID  string        `json:"trace_id"` // of the gateway's own server span, hexadecimal, if it made one
	SpanID   string        `json:"span_id"`
	Arrived  Headers       `json:"arrived"` // what the client sent
	Left     Headers       `json:"left"`    // what the gateway sent on
	Status   int           `json:"status"`  // what the client was answered

	TraceResponse string `json:"traceresponse"` // a header of the service's answer
}

// record is what the gateway or a service wrote of a request. What is zero or nil was not recorded.
type record struct {
	time, end                 time.Time // when the request arrived, and when it was over
	name                      string    // of the gateway or the service
	method, host, path, query string
	traceID, spanID           string // of its span
	arrived                   []Header
	status                    int // what it answered; of a service only if it failed

	// Of a gateway:
	proxy    bool
	service  string // to which it sent the request
	left     []Header
	response *Header // the service's traceresponse
	agent    string  // the client's User-Agent
	duration time.Duration

	// Of a service:
	forwarded bool // the request came through a gateway, as its X-Forwarded-* headers say
	answered  int  // the status that the service it called answered
}

// Ledger keeps the newest records. It can be used by several goroutines at once.
type Ledger struct {
	maxRecords int

	mu      sync.Mutex
	proxied []*record
	lines   []*record
	bySpan  map[string]*record // lines by trace and span id, for later lines of the same span

	services map[string]Telemetry
}

// New returns an empty Ledger that keeps the newest maxRecords of the gateway's records, and four
// times as many lines of services; a request makes two. A record takes 1 kB, rarely 10 kB.
func New(maxRecords int) *Ledger {
	return &Ledger{maxRecords: maxRecords, bySpan: map[string]*record{}, services: map[string]Telemetry{}}
}

// AddProxy adds a request that the gateway has seen, ideally once it has been answered.
func (l *Ledger) AddProxy(in ProxyRecord) {
	r := record{
		time: in.Time, duration: in.Duration, name: in.Proxy, proxy: true, service: cut(in.Service, 128), agent: cut(in.Agent, 128),
		method: in.Method, host: in.Host, path: in.Path, query: in.Query, status: in.Status,
		arrived: decodeAll(in.Arrived), left: decodeAll(in.Left),
	}
	r.traceID, _ = traceid.Trace(in.TraceID) // a malformed id is as good as none
	r.spanID, _ = traceid.Span(in.SpanID)
	if r.duration > 0 {
		r.end = r.time.Add(r.duration)
	}
	if in.TraceResponse != "" {
		r.response = new(Decode(TraceResponse, in.TraceResponse))
	}
	contexts, _ := split(r.left)
	if n := len(contexts); n > 0 && r.traceID == "" {
		r.traceID = contexts[n-1].TraceID // a gateway that is in a trace sends it on
	}
	l.add(&r)
}

// add keeps a record.
func (l *Ledger) add(r *record) {
	r.name, r.method, r.host = cut(r.name, 128), cut(r.method, 32), cut(r.host, 255)
	r.path, r.query = cut(r.path, maxValue), cut(r.query, maxValue)
	l.mu.Lock()
	defer l.mu.Unlock()
	list, most := &l.lines, 4*l.maxRecords
	if r.proxy {
		list, most = &l.proxied, l.maxRecords
	}
	*list = append(*list, r)
	if oldest := (*list)[0]; len(*list) > most {
		(*list)[0] = nil // the array lives on for a while
		*list = (*list)[1:]
		if key := oldest.traceID + oldest.spanID; l.bySpan[key] == oldest {
			delete(l.bySpan, key)
		}
	}
	if !r.proxy && r.traceID != "" {
		l.bySpan[r.traceID+r.spanID] = r
	}
}

// addFollowUp adds to a service's record what a later line of the same span says.
func (l *Ledger) addFollowUp(traceID, spanID string, f func(*record)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.bySpan[traceID+spanID]; r != nil {
		f(r)
	}
}

// view makes requests out of copies of the records, so that it does not hold up the services' logs.
func (l *Ledger) view() *builder {
	l.mu.Lock()
	b := &builder{upstreams: topology.Upstreams(), proxied: nodes(l.proxied), lines: nodes(l.lines)}
	l.mu.Unlock()
	b.build()
	return b
}

// Recent returns the newest requests, newest first, at most limit of them.
func (l *Ledger) Recent(limit int) []Request { return l.view().newest(limit, "") }

// Trace returns the requests that had to do with a trace, newest first, at most limit of them:
// usually one; more, if a client sent the same context more than once; none, if nothing is known of
// it. Leading zeros of the id may be missing. The error says what is wrong with a malformed id.
func (l *Ledger) Trace(id string, limit int) ([]Request, error) {
	id, err := traceid.Trace(id)
	if err != nil {
		return nil, err
	}
	return l.view().newest(limit, id), nil
}
