package ledger

import (
	"maps"
	"slices"
	"sync"
	"time"

	"example.com/grafana-tempo-go-demo/demo/header"
	"example.com/grafana-tempo-go-demo/demo/topology"
	"example.com/grafana-tempo-go-demo/demo/traceid"
)

const (
	// DefaultLimit is how many requests are listed unless another number is asked for.
	DefaultLimit = 20
	// DefaultMaxRecords is how many records a running demo keeps: some 2000 requests.
	DefaultMaxRecords = 6144
	// maxText is how many bytes are kept of each text of a record.
	maxText = 1024
)

// Record is what the gateway, or a service, wrote of a request. What is zero or nil was not
// recorded. The run without Docker logs it under the names of its tags.
type Record struct {
	Time     time.Time      `json:"-"` // when the request arrived
	Duration time.Duration  `json:"-"` // how long its answer took
	Name     string         `json:"-"` // who wrote it: gateway, traefik or a service
	Service  string         `json:"-"` // to which it was sent on, as far as is known
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

	gateway   bool // wrote it
	forwarded bool // the request came through a gateway, as its X-Forwarded-* headers say
	arrived   []header.Header
	left      []header.Header
	response  *header.Header // TraceResponse
	end       time.Time      // when the request was over, if a line says so
	answered  int            // the status that the service it called answered

	sent, received signs

	// As tie finds them:
	next  *Record   // of the one that it called: nobody sends a request on twice
	tied  bool      // it is somebody's next
	until time.Time // when the request was over at the latest
}

// Ledger keeps the newest records. It can be used by several goroutines at once.
type Ledger struct {
	maxRecords int

	mu       sync.Mutex
	records  []*Record          // in the order in which they came
	spans    map[string]*Record // services' by the ids of trace and span, for later lines
	starts   []*Record          // with which requests begin, by time; out of date if changed
	changed  bool               // a line came since
	services map[string]Telemetry
}

// New returns an empty Ledger that keeps the newest maxRecords records; a request makes three. A
// record takes 1 kB, rarely 10 kB.
func New(maxRecords int) *Ledger {
	return &Ledger{maxRecords: maxRecords, spans: map[string]*Record{}, services: map[string]Telemetry{}}
}

// AddProxy adds a request that the gateway has seen, once it has been answered.
func (l *Ledger) AddProxy(r Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.gateway = true
	l.add(&r)
}

// upstreams are whom the services call.
var upstreams = topology.Upstreams()

// add keeps a record.
func (l *Ledger) add(r *Record) {
	for _, s := range []*string{&r.Name, &r.Service, &r.Agent, &r.Method, &r.Host, &r.Path, &r.Query} {
		*s = header.Cut(*s, maxText)
	}
	if !r.gateway {
		r.Service = upstreams[r.Name]
	}
	r.TraceID, _ = traceid.Trace(r.TraceID) // a malformed id is as good as none
	r.SpanID, _ = traceid.Span(r.SpanID)
	r.arrived, r.left = r.Arrived.Decode(), r.Left.Decode()
	r.Arrived, r.Left = nil, nil // decoded, they take less memory
	if r.TraceResponse != "" {
		r.response = new(header.Decode(header.TraceResponse, r.TraceResponse))
	}
	r.sign()
	l.records, l.changed = append(l.records, r), true
	if !r.gateway && r.TraceID != "" {
		l.spans[r.TraceID+r.SpanID] = r
	}
	if len(l.records) > l.maxRecords {
		oldest := l.records[0]
		l.records[0] = nil // the array lives on for a while
		l.records = l.records[1:]
		if span := oldest.TraceID + oldest.SpanID; l.spans[span] == oldest {
			delete(l.spans, span)
		}
	}
}

// find describes the newest requests that had to do with a trace, or the newest of all if id is empty, at
// most limit of them, and counts all. Records are tied only if some came since the last time.
func (l *Ledger) find(id string, limit int) (found []Request, total int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed {
		l.starts, l.changed = tie(l.records), false
	}
	found = []Request{}
	for _, first := range slices.Backward(l.starts) {
		r := first
		for r != nil && id != "" && !r.names(id) {
			r = r.next
		}
		if r == nil {
			continue
		}
		if total++; total <= limit {
			found = append(found, request(first))
		}
	}
	return found, total
}

// names reports whether a record has to do with a trace.
func (r *Record) names(id string) bool {
	in := func(h header.Header) bool { return h.TraceID == id }
	return r.TraceID == id || r.response != nil && in(*r.response) || slices.ContainsFunc(r.arrived, in) ||
		slices.ContainsFunc(r.left, in)
}

// Recent returns the newest requests, newest first, at most limit of them.
func (l *Ledger) Recent(limit int) []Request {
	found, _ := l.find("", limit)
	return found
}

// Trace returns the requests that had to do with a trace, newest first, at most limit of them, and how
// many there are: usually one; more, if a client sent the same context more than once; none, if
// nothing is known of it. Leading zeros of the id may be missing. The error says what is wrong with a
// malformed id.
func (l *Ledger) Trace(id string, limit int) (found []Request, total int, err error) {
	if id, err = traceid.Trace(id); err != nil {
		return nil, 0, err
	}
	found, total = l.find(id, limit)
	return found, total, nil
}

// Answer has at most DefaultLimit requests that had to do with a trace, see Trace, and what services
// say of themselves.
func (l *Ledger) Answer(id string) (a Answer, err error) {
	a.Requests, a.Total, err = l.Trace(id, DefaultLimit)
	l.mu.Lock()
	defer l.mu.Unlock()
	a.Services = maps.Clone(l.services)
	return a, err
}
