package ledger

import (
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"example.com/grafana-tempo-go-demo/demo/header"
	"example.com/grafana-tempo-go-demo/demo/traceid"
)

const (
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
	left      []header.Header
	response  *header.Header // the service's traceresponse
	end       time.Time      // when the request was over
	answered  int            // the status that the service it called answered
	line      uint64         // tells its line from others
	keys      []string       // by which it is found: ids, and headers that should have some
}

// Ledger keeps the newest records. It can be used by several goroutines at once.
type Ledger struct {
	maxRecords int
	seed       maphash.Seed

	mu           sync.Mutex
	records      []*record            // in the order in which they came
	byKey        map[string][]*record // likewise
	lines        map[uint64]bool      // of records; a line that comes again is the same
	instrumented map[string]bool      // services that were ever in a trace
	askedAll     bool                 // a gateway's line had a client's header: those without had none
	services     map[string]Telemetry
}

// New returns an empty Ledger that keeps the newest maxRecords records; a request makes three. A
// record takes 1 kB, rarely 10 kB.
func New(maxRecords int) *Ledger {
	return &Ledger{
		maxRecords: maxRecords, seed: maphash.MakeSeed(), byKey: map[string][]*record{}, lines: map[uint64]bool{},
		instrumented: map[string]bool{}, services: map[string]Telemetry{},
	}
}

// AddProxy adds a request that the gateway has seen, once it has been answered.
func (l *Ledger) AddProxy(in Record) { l.add(&record{Record: in, gateway: true}) }

// add keeps a record.
func (l *Ledger) add(r *record) {
	for _, s := range []*string{&r.Name, &r.Service, &r.Agent, &r.Method, &r.Host, &r.Path, &r.Query} {
		*s = header.Cut(*s, maxText)
	}
	r.TraceID, _ = traceid.Trace(r.TraceID) // a malformed id is as good as none
	r.SpanID, _ = traceid.Span(r.SpanID)
	r.arrived, r.left = r.Arrived.Decode(), r.Left.Decode()
	r.Arrived, r.Left = nil, nil // decoded, they take less memory
	if r.TraceResponse != "" {
		r.response = new(header.Decode(header.TraceResponse, r.TraceResponse))
	}
	r.index()
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.line != 0 && l.lines[r.line] {
		return
	}
	l.lines[r.line] = true
	l.records = append(l.records, r)
	for _, key := range r.keys {
		l.byKey[key] = append(l.byKey[key], r)
	}
	if r.gateway {
		l.askedAll = l.askedAll || r.arrived != nil
	} else if r.TraceID != "" {
		l.instrumented[r.Name] = true
	}
	if len(l.records) > l.maxRecords {
		l.forget(l.records[0])
		l.records[0] = nil // the array lives on for a while
		l.records = l.records[1:]
	}
}

// index finds the keys of a record.
func (r *record) index() {
	headers := slices.Concat(r.arrived, r.left)
	if r.response != nil {
		headers = append(headers, *r.response)
	}
	if r.TraceID != "" && !r.gateway {
		r.keys = append(r.keys, r.TraceID+r.SpanID) // for later lines of the span
	}
	r.keys = appendNew(append(r.keys, carried(headers)...), r.TraceID)
	for _, h := range headers {
		r.keys = appendNew(r.keys, h.TraceID)
	}
	slices.Sort(r.keys)
	r.keys = slices.Compact(r.keys)
}

// forget removes the oldest record from what points to it.
func (l *Ledger) forget(oldest *record) {
	delete(l.lines, oldest.line)
	for _, key := range oldest.keys {
		if l.byKey[key] = l.byKey[key][1:]; len(l.byKey[key]) == 0 {
			delete(l.byKey, key)
		}
	}
}

// addFollowUp adds to a service's record what a later line of the same span says.
func (l *Ledger) addFollowUp(line Record, f func(*record)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.byKey[line.TraceID+line.SpanID] {
		if r.TraceID == line.TraceID && r.SpanID == line.SpanID && !r.gateway {
			f(r)
		}
	}
}

// gather returns copies of records and of all that share ids with them, directly or not, so that
// they can be read while lines come in.
func (l *Ledger) gather(todo []*record) (nodes []*node) {
	found, asked := map[*record]bool{}, map[string]bool{}
	for len(todo) > 0 {
		r := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if found[r] {
			continue
		}
		found[r] = true
		n := &node{record: *r, instrumented: l.instrumented[r.Name]}
		if n.gateway && n.arrived == nil && l.askedAll {
			n.arrived = []header.Header{}
		}
		nodes = append(nodes, n)
		for _, key := range r.keys {
			if !asked[key] {
				asked[key] = true
				todo = append(todo, l.byKey[key]...)
			}
		}
	}
	return nodes
}

// newest describes the newest of the requests that begin with the given nodes.
func newest(starts []*node, limit int) []Request {
	found := []Request{}
	for _, n := range slices.Backward(starts[max(0, len(starts)-limit):]) {
		found = append(found, request(n))
	}
	return found
}

// Recent returns the newest requests of which something was written last, newest first, at most
// limit of them. It takes as long as limit is, however many there are.
func (l *Ledger) Recent(limit int) []Request {
	for records := 8 * limit; ; records *= 2 {
		l.mu.Lock()
		all := len(l.records)
		nodes := l.gather(slices.Clone(l.records[max(0, all-records):]))
		l.mu.Unlock()
		if starts := tie(nodes); len(starts) >= limit || records >= all {
			return newest(starts, limit)
		}
	}
}

// Trace returns the requests that had to do with a trace, newest first, at most limit of them, and how
// many there are: usually one; more, if a client sent the same context more than once; none, if
// nothing is known of it. Leading zeros of the id may be missing. The error says what is wrong with a
// malformed id.
func (l *Ledger) Trace(id string, limit int) (found []Request, total int, err error) {
	id, err = traceid.Trace(id)
	if err != nil {
		return nil, 0, err
	}
	l.mu.Lock()
	nodes := l.gather(slices.Clone(l.byKey[id]))
	l.mu.Unlock()
	starts := slices.DeleteFunc(tie(nodes), func(n *node) bool {
		for ; n != nil; n = n.next {
			if slices.Contains(n.keys, id) {
				return false
			}
		}
		return true
	})
	return newest(starts, limit), len(starts), nil
}
