package ledger

import (
	"sync"
	"time"

	"example.com/grafana-tempo-go-demo/demo/header"
	"example.com/grafana-tempo-go-demo/demo/topology"
	"example.com/grafana-tempo-go-demo/demo/traceid"
)

// DefaultMaxRecords is how many records a running demo keeps: some 2000 requests.
const DefaultMaxRecords = 6144

// Record is what the gateway, or a service, wrote of a request. What is zero or nil was not
// recorded. The run without Docker logs it under the names of its tags.
type Record struct {
	Time     time.Time      `json:"-"` // when the request arrived
	Duration time.Duration  `json:"-"` // how long its answer took
	Name     string         `json:"-"` // who wrote it: gateway, traefik or a service
	Service  string         `json:"-"` // to which the gateway sent the request on, if it did
	Agent    string         `json:"-"` // the client's User-Agent, by which a client finds its own request
	Method   string         `json:"method"`
	Host     string         `json:"host"` // with or without port
	Path     string         `json:"path"`
	Query    string         `json:"query"`
	TraceID  string         `json:"trace_id"` // of its own server span, hexadecimal, if it made one
	SpanID   string         `json:"span_id"`
	Arrived  header.Headers `json:"arrived"` // what it received
	Left     header.Headers `json:"left"`    // what the gateway sent on
	Status   int            `json:"status"`  // what it answered; of a service only if it failed

	TraceResponse string `json:"traceresponse"` // a header of the answer that the gateway got
}

// record is a Record with its headers decoded, and what else is known of it.
type record struct {
	Record
	gateway   bool // wrote it
	forwarded bool // the request came through a gateway, as its X-Forwarded-* headers say
	arrived   []header.Header
	contexts  []header.Header // of arrived
	left      []header.Header
	response  *header.Header // the service's traceresponse
	end       time.Time      // when the request was over
	answered  int            // the status that the service it called answered
}

// maxText is how many bytes are kept of each text of a record.
const maxText = 1024

// Ledger keeps the newest records. It can be used by several goroutines at once.
type Ledger struct {
	maxRecords int

	mu       sync.Mutex
	records  []*record
	bySpan   map[string]*record // of services, by trace and span id, for later lines of the same span
	services map[string]Telemetry
}

// New returns an empty Ledger that keeps the newest maxRecords records; a request makes three. A
// record takes 1 kB, rarely 10 kB.
func New(maxRecords int) *Ledger {
	return &Ledger{maxRecords: maxRecords, bySpan: map[string]*record{}, services: map[string]Telemetry{}}
}

// AddProxy adds a request that the gateway has seen, once it has been answered.
func (l *Ledger) AddProxy(in Record) {
	r := record{Record: in, gateway: true}
	if in.TraceResponse != "" {
		r.response = new(header.Decode(header.TraceResponse, in.TraceResponse))
	}
	l.add(&r)
}

// add keeps a record.
func (l *Ledger) add(r *record) {
	for _, s := range []*string{&r.Name, &r.Service, &r.Agent, &r.Method, &r.Host, &r.Path, &r.Query} {
		*s = header.Cut(*s, maxText)
	}
	r.TraceID, _ = traceid.Trace(r.TraceID) // a malformed id is as good as none
	r.SpanID, _ = traceid.Span(r.SpanID)
	r.arrived, r.left = r.Arrived.Decode(), r.Left.Decode()
	r.contexts, _ = split(r.arrived)
	r.Arrived, r.Left = nil, nil // decoded, they take less memory
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = append(l.records, r)
	if oldest := l.records[0]; len(l.records) > l.maxRecords {
		l.records[0] = nil // the array lives on for a while
		l.records = l.records[1:]
		if key := oldest.TraceID + oldest.SpanID; l.bySpan[key] == oldest {
			delete(l.bySpan, key)
		}
	}
	if !r.gateway && r.TraceID != "" {
		l.bySpan[r.TraceID+r.SpanID] = r
	}
}

// addFollowUp adds to a service's record what a later line of the same span says.
func (l *Ledger) addFollowUp(line Record, f func(*record)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.bySpan[line.TraceID+line.SpanID]; r != nil {
		f(r)
	}
}

// view makes requests out of copies of the records, so that it does not hold up the services' logs.
func (l *Ledger) view() *builder {
	b := &builder{
		upstreams: topology.Upstreams(), byService: map[string][]*node{}, byTrace: map[string][]*node{},
		instrumented: map[string]bool{}, seen: map[string]bool{},
	}
	l.mu.Lock()
	for _, r := range l.records {
		b.all = append(b.all, &node{record: *r})
	}
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
