package ledger

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"example.com/grafana-tempo-go-demo/demo/traceid"
)

// DefaultMaxRecords is what Options.MaxRecords is when it is not set.
const DefaultMaxRecords = 2048

// linesPerRecord is how many lines of services are kept for each record of the proxy. Here a
// request makes two.
const linesPerRecord = 4

// Options set a Ledger up.
type Options struct {
	// MaxRecords is how many of the proxy's records are kept, and four times as many lines of
	// services; the newest stay. 0 means DefaultMaxRecords. A record takes at most about 10 kB, and
	// usually 1 kB.
	MaxRecords int
	// Upstreams maps each service that calls another to that other. With nil, each service may call
	// any other.
	Upstreams map[string]string
}

// ProxyRecord is one request as the proxy in front of the services saw it. What is zero or nil was
// not recorded.
type ProxyRecord struct {
	// Time is when the request arrived, and Duration how long its answer took.
	Time     time.Time
	Duration time.Duration
	// Proxy is the proxy's name, such as gateway. Service is that of the service to which it sent
	// the request on, if it did.
	Proxy, Service string
	// Method, Host (with or without port), Path and Query are what the client asked for.
	Method, Host, Path, Query string
	// TraceID and SpanID are those of the proxy's own server span, hexadecimal, if it made one.
	TraceID, SpanID string
	// Arrived are the headers that the client sent, and Left those that the proxy sent on. Only
	// propagation headers are kept of them; see Pick.
	Arrived, Left http.Header
	// Status is what the client was answered.
	Status int
	// TraceResponse is the header traceresponse of the service's answer.
	TraceResponse string
}

// record is what the proxy or a service wrote of one request. What is zero or nil was not recorded.
type record struct {
	id                        string
	time, end                 time.Time // when the request arrived, and when it was over
	name                      string    // of the proxy or the service
	method, host, path, query string
	traceID, spanID           string // of its span
	arrived                   []Header
	status                    int // what it answered; of a service only if it failed

	// Of a proxy:
	proxy     bool
	service   string // to which it sent the request
	left      []Header
	response  *Header // the service's traceresponse
	duration  time.Duration
	selective bool // its log has only the headers that it was told to keep

	// Of a service:
	forwarded bool // the request came through a proxy, as its X-Forwarded-* headers say
	answered  int  // the status that the service it called answered
}

// Ledger keeps the newest records. It can be used by several goroutines at once.
type Ledger struct {
	o Options

	mu      sync.Mutex
	seq     uint64 // counts records
	proxied []*record
	lines   []*record
	bySpan  map[string]*record // lines by trace and span id, for later lines of the same span
}

// New returns an empty Ledger.
func New(o Options) *Ledger {
	if o.MaxRecords <= 0 {
		o.MaxRecords = DefaultMaxRecords
	}
	return &Ledger{o: o, bySpan: map[string]*record{}}
}

// AddProxy adds a request that the proxy has seen, ideally once it has been answered, and returns
// the record's id, which is the ID of its Request.
func (l *Ledger) AddProxy(r ProxyRecord) string {
	return l.addProxy(record{
		time: r.Time, duration: r.Duration, name: r.Proxy, method: r.Method, host: r.Host, path: r.Path, query: r.Query,
		service: r.Service, traceID: r.TraceID, spanID: r.SpanID, status: r.Status,
		arrived: decodeAll(r.Arrived), left: decodeAll(r.Left),
	}, r.TraceResponse)
}

// addProxy adds a proxy's record.
func (l *Ledger) addProxy(r record, traceResponse string) string {
	r.proxy, r.service = true, cut(r.service, 128)
	r.traceID, _ = traceid.Trace(r.traceID) // a malformed id is as good as none
	r.spanID, _ = traceid.Span(r.spanID)
	if r.duration > 0 {
		r.end = r.time.Add(r.duration)
	}
	if traceResponse != "" {
		r.response = new(Decode(TraceResponse, traceResponse))
	}
	contexts, _ := split(r.left)
	if n := len(contexts); n > 0 && r.traceID == "" {
		r.traceID = contexts[n-1].TraceID // a proxy that is in a trace sends it on
	}
	return l.add(&r)
}

// add keeps a record and returns its id.
func (l *Ledger) add(r *record) string {
	r.name, r.method, r.host = cut(r.name, 128), cut(r.method, 32), cut(r.host, 255)
	r.path, r.query = cut(r.path, maxValue), cut(r.query, maxValue)
	l.mu.Lock()
	defer l.mu.Unlock()
	list, prefix, most := &l.lines, "r", linesPerRecord*l.o.MaxRecords
	if r.proxy {
		list, prefix, most = &l.proxied, "p", l.o.MaxRecords
	}
	l.seq++
	r.id = fmt.Sprint(prefix, l.seq)
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
	return r.id
}

// addFollowUp adds to a service's record what a later line of the same span says.
func (l *Ledger) addFollowUp(traceID, spanID string, f func(*record)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.bySpan[traceID+spanID]; r != nil {
		f(r)
	}
}

// view makes requests out of the records. That takes a while, during which the services' logs must
// not be held up: it works on copies.
func (l *Ledger) view() *builder {
	l.mu.Lock()
	b := &builder{upstreams: l.o.Upstreams, proxied: nodes(l.proxied), lines: nodes(l.lines)}
	l.mu.Unlock()
	b.build()
	return b
}

// Recent returns the newest requests, newest first, at most limit of them.
func (l *Ledger) Recent(limit int) []Request {
	return l.view().newest(limit, everything)
}

// Trace returns the requests that had to do with a trace, newest first, at most limit of them:
// usually one; more, if a client sent the same context more than once; none, if nothing is known of
// it. Leading zeros of the id may be missing. The error says what is wrong with a malformed id.
func (l *Ledger) Trace(id string, limit int) ([]Request, error) {
	id, err := traceid.Trace(id)
	if err != nil {
		return nil, err
	}
	b := l.view()
	return b.newest(limit, b.touching(id)), nil
}

// Request returns the request that the record with this ID belongs to.
func (l *Ledger) Request(id string) (r Request, ok bool) {
	found := l.view().newest(1, func(start *node) bool { return start.has(id) })
	if len(found) == 0 {
		return r, false
	}
	return found[0], true
}
