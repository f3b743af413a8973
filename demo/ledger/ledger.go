// Package ledger is the hop ledger: for one request it tells, hop by hop, which propagation header left, which arrived,
// and what the receiver did with the trace: started, continued or dropped it, ignored the header, or received none.
//
// Nothing is put between the services for this. The ledger reads what is there anyway: the proxy's record of what passes
// it, and the lines in which all four services log each request with its headers. Where it knows a thing only because
// nothing stands between two services, it says "inferred", and where a request cannot be tied to another because it
// carries no context, it says exactly that.
package ledger

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// DefaultMaxRecords is what Options.MaxRecords is when it is not set.
const DefaultMaxRecords = 2048

// linesPerRecord is how many service lines are kept for each record of the proxy. Here a request makes two.
const linesPerRecord = 4

// maxServices bounds how many names of services are remembered. They come from logs.
const maxServices = 256

// Options set a Ledger up.
type Options struct {
	// MaxRecords is how many of the proxy's records are kept, and four times as many lines of services; the newest stay.
	// 0 means DefaultMaxRecords. A record takes at most about 10 kB, and 1 kB as a rule.
	MaxRecords int
	// Upstreams says who calls whom: a service's name, and the name of the one that it calls. It is what finds candidates
	// among the requests that carry no context. With nil, each service is taken to call any other.
	Upstreams map[string]string
}

// ProxyRecord is one request as the proxy in front of the services saw it.
type ProxyRecord struct {
	// Time is when the request arrived, and Duration how long its answer took; 0 if that is not known.
	Time     time.Time
	Duration time.Duration
	// Proxy is the proxy's name, such as gateway; empty means proxy.
	Proxy string
	// Method, Host (with or without port), Path and Query are the request's; they are only shown.
	Method, Host, Path, Query string
	// Service is the name of the service that it was sent on to; empty if it was not sent on.
	Service string
	// TraceID and SpanID are those of the proxy's own server span, hexadecimal; empty if it made none.
	TraceID, SpanID string
	// Arrived are the headers that the client sent, and Left those that the proxy sent on: nil where that was not recorded.
	// Only propagation headers are kept of them; see Pick.
	Arrived, Left http.Header
	// Status is what the client was answered; 0 if that is not known.
	Status int
	// TraceResponse is the header traceresponse of the service's answer.
	TraceResponse string

	// guessed tells that Service comes from the host name, and counts only if there is such a service.
	guessed bool
	// selective tells that the headers that arrived are recorded by name: those that are missing may not have been sent, or
	// not be among the names.
	selective bool
}

// proxied is a ProxyRecord as it is kept.
type proxied struct {
	ProxyRecord
	seq           uint64
	arrived, left []Header // decoded; nil where not recorded
	response      *Header
}

func (p *proxied) id() string { return "p" + strconv.FormatUint(p.seq, 10) }

// line is one request as a service logged it.
type line struct {
	seq                       uint64
	time                      time.Time
	service                   string
	method, host, path, query string
	forwarded                 bool     // it came through a proxy, as its X-Forwarded-* headers say
	headers                   []Header // those that arrived
	traceID, spanID           string   // of the service's span; empty for a plain service
	// What later lines of the same span told.
	ended    time.Time // zero if there was none
	failed   int       // the status that the service answered, if it failed
	answered int       // the status that the service it called answered
}

// Ledger keeps the newest records. It can be used by several goroutines at once.
type Ledger struct {
	upstreams  map[string]string
	maxProxied int
	maxLines   int

	mu       sync.Mutex
	seq      uint64 // counts changes
	proxied  []*proxied
	lines    []*line
	bySpan   map[string]*line // by trace and span id, for what later lines tell
	services map[string]bool  // true for those that were ever seen in a trace

	built *builder // what the records say; nil when something has changed since
}

// New returns an empty Ledger.
func New(o Options) *Ledger {
	if o.MaxRecords <= 0 {
		o.MaxRecords = DefaultMaxRecords
	}
	return &Ledger{
		upstreams:  o.Upstreams,
		maxProxied: o.MaxRecords,
		maxLines:   linesPerRecord * o.MaxRecords,
		bySpan:     map[string]*line{},
		services:   map[string]bool{},
	}
}

// AddProxy adds a request that the proxy has seen, best when it has been answered, and returns the record's id, which
// Request has as its ID.
func (l *Ledger) AddProxy(r ProxyRecord) string {
	if r.Proxy == "" {
		r.Proxy = "proxy"
	}
	r.Proxy, r.Service, r.Method = cut(r.Proxy, 128), cut(r.Service, 128), cut(r.Method, 32)
	r.Host, r.Path, r.Query = cut(r.Host, 255), cut(r.Path, maxValue), cut(r.Query, maxValue)
	p := &proxied{ProxyRecord: r}
	p.TraceID, _ = NormalizeTraceID(r.TraceID) // an id that is none is as good as no id
	p.SpanID = spanIDOf(r.SpanID)
	if r.Arrived != nil {
		p.arrived = decodeAll(r.Arrived)
	}
	if r.Left != nil {
		p.left = decodeAll(r.Left)
	}
	p.Arrived, p.Left = nil, nil
	if r.TraceResponse != "" {
		h := Decode("traceresponse", r.TraceResponse)
		p.response = &h
	}
	if p.TraceID == "" {
		for _, h := range p.left { // a proxy that is in a trace sends it on
			if h.isContext() && h.Valid {
				p.TraceID = h.TraceID
			}
		}
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	l.changed()
	p.seq = l.seq
	l.proxied = append(l.proxied, p)
	if n := len(l.proxied); n > l.maxProxied {
		l.proxied[n-l.maxProxied-1] = nil // the array lives on for a while
		l.proxied = l.proxied[n-l.maxProxied:]
	}
	return p.id()
}

// addLine keeps a request line.
func (l *Ledger) addLine(ln *line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changed()
	ln.seq = l.seq
	l.lines = append(l.lines, ln)
	if ln.traceID != "" {
		l.bySpan[ln.traceID+ln.spanID] = ln
	}
	l.seen(ln.service, ln.traceID != "")
	if n := len(l.lines); n > l.maxLines {
		old := l.lines[n-l.maxLines-1]
		if key := old.traceID + old.spanID; l.bySpan[key] == old {
			delete(l.bySpan, key)
		}
		l.lines[n-l.maxLines-1] = nil
		l.lines = l.lines[n-l.maxLines:]
	}
}

// addFollowUp keeps what a later line of the same span tells.
func (l *Ledger) addFollowUp(traceID, spanID string, f func(*line)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ln := l.bySpan[traceID+spanID]; ln != nil {
		l.changed()
		f(ln)
	}
}

// seen remembers that there is a service of this name. The caller holds the lock.
func (l *Ledger) seen(service string, inTrace bool) {
	was, known := l.services[service]
	if !known && len(l.services) >= maxServices {
		return
	}
	l.services[service] = was || inTrace
}

func (l *Ledger) changed() {
	l.seq++
	l.built = nil
}

// view returns what the records say. It is shared: nobody may change it.
func (l *Ledger) view() *builder {
	l.mu.Lock()
	if l.built != nil {
		defer l.mu.Unlock()
		return l.built
	}
	// Building takes a while, during which the services' logs must not be held up: work on a copy.
	b := &builder{
		upstreams: l.upstreams,
		services:  maps.Clone(l.services),
		proxied:   slices.Clone(l.proxied),
		lines:     make([]*node, len(l.lines)),
	}
	nodes := make([]node, len(l.lines))
	for i, ln := range l.lines {
		nodes[i].line = *ln
		b.lines[i] = &nodes[i]
	}
	version := l.seq
	l.mu.Unlock()

	b.build()

	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seq == version {
		l.built = b
	}
	return b
}

// Recent returns the newest requests, newest first, at most limit of them.
func (l *Ledger) Recent(limit int) []Request {
	b := l.view()
	found := []Request{}
	for _, s := range slices.Backward(b.starts[max(0, len(b.starts)-max(0, limit)):]) {
		found = append(found, b.request(s))
	}
	return found
}

// Trace returns the requests that had to do with a trace, newest first, at most limit of them: usually one; more, if a
// client sent the same context more than once; none, if nothing is known of it. Leading zeros of the id may be missing. The
// error says what is wrong with an id that cannot be one.
func (l *Ledger) Trace(id string, limit int) ([]Request, error) {
	id, err := NormalizeTraceID(id)
	if err != nil {
		return nil, err
	}
	b := l.view()
	found := []Request{}
	for _, s := range slices.Backward(b.starts) {
		if len(found) < limit && b.touches(s, id) {
			found = append(found, b.request(s))
		}
	}
	return found, nil
}

// Request returns the request with this ID, which AddProxy or another Request told.
func (l *Ledger) Request(id string) (Request, bool) {
	b := l.view()
	for _, s := range slices.Backward(b.starts) {
		if b.has(s, id) {
			return b.request(s), true
		}
	}
	return Request{}, false
}

// spanIDOf returns a span id in lower case, or nothing if it is none.
func spanIDOf(id string) string {
	id = strings.ToLower(id)
	if checkID("span id", id, 16, true) != "" {
		return ""
	}
	return pad(id, 16)
}
