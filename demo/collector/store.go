package collector

import (
	"container/list"
	"sync"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
)

type (
	traceID [16]byte
	spanID  [8]byte
)

// resource is the sender of spans. Senders repeat themselves in every batch,
// so equal ones are kept once.
type resource struct {
	key       string // its wire form, which is its identity
	pb        *resourcepb.Resource
	schemaURL string
	service   string // service.name, "" when missing or not a string
	bytes     int64
	scopes    map[string]*scope // by their wire form; guarded by store.mu
}

// scope is one instrumentation scope of a resource, kept once like it.
type scope struct {
	key       string
	resource  *resource
	pb        *commonpb.InstrumentationScope
	schemaURL string
	bytes     int64
	uses      int // stored spans that refer to it; guarded by store.mu
}

// span is a received span with its origin. Neither changes after decoding.
type span struct {
	*tracepb.Span
	scope *scope
}

// trace is what is known of a trace at one moment. A published trace never
// changes: new spans make a new one, and a reader needs no lock.
type trace struct {
	id         traceID
	spans      []span // in order of arrival
	bytes      int64
	start, end uint64 // earliest start and latest end, Unix nanoseconds
	root       *span  // nil until a span without parent arrives
}

// add appends s to a trace that is not published yet. The backing array may
// be shared with published ones: they are shorter and never see the addition.
func (t *trace) add(s span, bytes int64) {
	if len(t.spans) == 0 || s.StartTimeUnixNano < t.start {
		t.start = s.StartTimeUnixNano
	}
	t.end = max(t.end, s.EndTimeUnixNano)
	// Of several roots Tempo names the latest.
	if len(s.ParentSpanId) == 0 && (t.root == nil || t.root.StartTimeUnixNano <= s.StartTimeUnixNano) {
		t.root = &s
	}
	t.spans = append(t.spans, s)
	t.bytes += bytes
}

// entry is the store's own record of a trace; all of it is guarded by
// store.mu, apart from the published trace that it points to.
type entry struct {
	trace *trace
	ids   map[spanID]struct{}
	open  bool // trace is a copy that the current add may still write to
}

// store keeps the newest traces within a bound on bytes.
type store struct {
	maxBytes      int64
	maxTraceBytes int64

	mu        sync.RWMutex
	bytes     int64
	traces    map[traceID]*list.Element // of *entry
	order     *list.List                // front: the latest to receive a span
	resources map[string]*resource
}

func newStore(maxBytes int64) *store {
	return &store{
		maxBytes:      maxBytes,
		maxTraceBytes: maxBytes / 4,
		traces:        make(map[traceID]*list.Element),
		order:         list.New(),
		resources:     make(map[string]*resource),
	}
}

// incoming is a span that was decoded and checked, before it is merged.
type incoming struct {
	trace traceID
	id    spanID
	span  span // its scope is not interned yet
	bytes int64
}

// add merges spans into their traces and evicts what no longer fits. A span
// id that its trace has already is ignored, as exporters repeat a batch whose
// answer they missed. It returns the number of spans that were left out
// because their trace is full.
func (st *store) add(batch []incoming) (rejected int) {
	st.mu.Lock()
	defer st.mu.Unlock()

	var opened []*entry
	var last *list.Element
	var candidate, kept *scope // a batch's spans share few scopes: intern each once
	for i := range batch {
		in := &batch[i]
		if last == nil || last.Value.(*entry).trace.id != in.trace {
			last = st.traces[in.trace]
		}
		if last == nil {
			if entryBytes+in.bytes+in.span.scope.totalBytes() > st.maxTraceBytes {
				rejected++
				continue
			}
			last = st.insert(in.trace)
		}
		e := last.Value.(*entry)
		if _, ok := e.ids[in.id]; ok {
			continue
		}
		if e.trace.bytes+in.bytes+in.span.scope.totalBytes() > st.maxTraceBytes {
			rejected++
			continue
		}
		if !e.open {
			t := *e.trace
			e.trace, e.open = &t, true
			opened = append(opened, e)
			st.order.MoveToFront(last)
		}
		if in.span.scope != candidate {
			candidate = in.span.scope
			kept = st.intern(candidate)
		}
		in.span.scope = kept
		kept.uses++
		e.ids[in.id] = struct{}{}
		e.trace.add(in.span, in.bytes)
		st.bytes += in.bytes
	}
	for _, e := range opened {
		e.open = false
	}
	for st.bytes > st.maxBytes && st.order.Len() > 0 {
		st.evict(st.order.Back())
	}
	return rejected
}

func (st *store) insert(id traceID) *list.Element {
	e := &entry{trace: &trace{id: id, bytes: entryBytes}, ids: make(map[spanID]struct{})}
	el := st.order.PushFront(e)
	st.traces[id] = el
	st.bytes += entryBytes
	return el
}

// intern returns the kept scope that equals s, which may be s itself. The
// caller counts its use.
func (st *store) intern(s *scope) *scope {
	r, ok := st.resources[s.resource.key]
	if !ok {
		r = s.resource
		r.scopes = make(map[string]*scope)
		st.resources[r.key] = r
		st.bytes += r.bytes
	}
	kept, ok := r.scopes[s.key]
	if !ok {
		kept = s
		kept.resource = r
		r.scopes[s.key] = kept
		st.bytes += kept.bytes
	}
	return kept
}

func (st *store) evict(el *list.Element) {
	e := el.Value.(*entry)
	st.order.Remove(el)
	delete(st.traces, e.trace.id)
	st.bytes -= e.trace.bytes
	for _, s := range e.trace.spans {
		s.scope.uses--
		if s.scope.uses > 0 {
			continue
		}
		r := s.scope.resource
		delete(r.scopes, s.scope.key)
		st.bytes -= s.scope.bytes
		if len(r.scopes) == 0 {
			delete(st.resources, r.key)
			st.bytes -= r.bytes
		}
	}
}

// get returns the trace as it is now, or nil.
func (st *store) get(id traceID) *trace {
	st.mu.RLock()
	defer st.mu.RUnlock()
	if el, ok := st.traces[id]; ok {
		return el.Value.(*entry).trace
	}
	return nil
}

// recent returns all traces as they are now, the latest to receive a span
// first. It copies only pointers under the lock, so that a search, which
// reads them afterwards, does not hold up the spans that arrive meanwhile.
func (st *store) recent() []*trace {
	st.mu.RLock()
	defer st.mu.RUnlock()
	ts := make([]*trace, 0, st.order.Len())
	for el := st.order.Front(); el != nil; el = el.Next() {
		ts = append(ts, el.Value.(*entry).trace)
	}
	return ts
}
