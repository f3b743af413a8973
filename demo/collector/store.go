package collector

import (
	"bytes"
	"cmp"
	"container/list"
	"crypto/sha256"
	"slices"
	"sync"

	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

type (
	traceID [16]byte
	spanID  [8]byte
)

// origin is what spans come from: an instrumentation scope of a resource. Senders repeat both in
// every batch, so equal ones are kept once.
type origin struct {
	key     string                 // what both are on the wire
	sent    *tracepb.ResourceSpans // both, without spans
	service string                 // service.name, "" when missing or not a string
	bytes   int64                  // estimated memory
	uses    int                    // stored spans that refer to it; guarded by store.mu
}

// span is a received span, or a log line. It does not change after decoding.
type span struct {
	*tracepb.Span // nil for a log line
	line          *logspb.LogRecord
	origin        *origin
	bytes         int64 // estimated memory, without that of origin
}

// trace is a trace at one moment. Readers get a copy, which new spans do not change: no lock.
type trace struct {
	id         traceID
	spans      []span // in order of arrival
	lines      []span // the same of log lines
	bytes      int64  // estimated memory
	start, end uint64 // earliest start and latest end, Unix nanoseconds
	root       *span  // nil until a span without parent arrives
}

// add appends s. Copies that share the backing array are shorter and do not see it.
func (t *trace) add(s span) {
	t.bytes += s.bytes
	if s.Span == nil {
		t.lines = append(t.lines, s)
		return
	}
	if len(t.spans) == 0 || s.StartTimeUnixNano < t.start {
		t.start = s.StartTimeUnixNano
	}
	t.end = max(t.end, s.EndTimeUnixNano)
	// Of several roots Tempo names the latest.
	if len(s.ParentSpanId) == 0 && (t.root == nil || t.root.StartTimeUnixNano <= s.StartTimeUnixNano) {
		t.root = &s
	}
	t.spans = append(t.spans, s)
}

// data groups the spans by origin, earliest first.
func (t *trace) data() *tracepb.TracesData {
	d := &tracepb.TracesData{}
	groups := map[*origin]*tracepb.ScopeSpans{}
	earliest := func(a, b span) int {
		return cmp.Or(cmp.Compare(a.StartTimeUnixNano, b.StartTimeUnixNano),
			bytes.Compare(a.SpanId, b.SpanId), cmp.Compare(a.Kind, b.Kind))
	}
	for _, s := range slices.SortedFunc(slices.Values(t.spans), earliest) {
		group := groups[s.origin]
		if group == nil {
			sent := proto.CloneOf(s.origin.sent)
			group = sent.ScopeSpans[0]
			groups[s.origin] = group
			d.ResourceSpans = append(d.ResourceSpans, sent)
		}
		group.Spans = append(group.Spans, s.Span)
	}
	return d
}

// entryBytes is about what a trace takes before its first span: its records and map slots.
const entryBytes = 256

// memoryOf estimates how many bytes a decoded message of that size on the wire takes, with what the
// store keeps about it. It fits the demo's spans, which take almost six times their size, and very
// small ones. It is too high for long strings, and too low for messages full of empty ones.
func memoryOf(size int) int64 { return 256 + 5*int64(size) }

// identity is that of a span in its trace, as in Tempo's combiner: in Zipkin's data the client's span
// and the server's have one id. That of a log line is a hash.
type identity struct {
	id   spanID
	kind tracepb.Span_SpanKind
}

func (s span) identity() (traceID, identity) {
	if s.Span == nil {
		wire, _ := proto.Marshal(s.line) // it was decoded, so it can be encoded
		sum := sha256.Sum256(append(wire, s.origin.key...))
		return traceID(s.line.TraceId), identity{spanID(sum[:8]), -1}
	}
	return traceID(s.TraceId), identity{spanID(s.SpanId), s.Kind}
}

// entry is the store's own record of a trace.
type entry struct {
	trace
	ids   map[identity]struct{}
	place *list.Element // in store.order; nil until the trace is kept
}

// store keeps the newest traces within a bound on bytes: the one that has received nothing for the
// longest time goes first. One trace may take a quarter, lest it push out all others.
type store struct {
	maxBytes      int64
	maxTraceBytes int64

	mu      sync.RWMutex
	bytes   int64
	traces  map[traceID]*entry
	order   *list.List // of *entry; front: the latest to receive a span
	origins map[string]*origin
}

func newStore(maxBytes int64) *store {
	return &store{
		maxBytes:      maxBytes,
		maxTraceBytes: maxBytes / 4,
		traces:        make(map[traceID]*entry),
		order:         list.New(),
		origins:       make(map[string]*origin),
	}
}

// add merges spans and lines into their traces and evicts what no longer fits. It ignores one that its
// trace has already, as exporters repeat a batch whose answer they missed. It returns the number of
// spans that were left out because their trace is full.
func (st *store) add(spans []span) (rejected int) {
	st.mu.Lock()
	defer st.mu.Unlock()

	for _, s := range spans {
		id, known := s.identity()
		e := st.traces[id]
		if e == nil {
			e = &entry{trace: trace{id: id, bytes: entryBytes}, ids: map[identity]struct{}{}}
		}
		if _, ok := e.ids[known]; ok {
			continue
		}
		if e.bytes+s.bytes+s.origin.bytes > st.maxTraceBytes {
			rejected++
			continue
		}
		if e.place == nil {
			st.traces[id] = e
			e.place = st.order.PushFront(e)
			st.bytes += entryBytes
		}
		st.order.MoveToFront(e.place)
		if kept, ok := st.origins[s.origin.key]; ok {
			s.origin = kept
		} else {
			st.origins[s.origin.key] = s.origin
			st.bytes += s.origin.bytes
		}
		s.origin.uses++
		e.ids[known] = struct{}{}
		e.add(s)
		st.bytes += s.bytes
	}
	for st.bytes > st.maxBytes && st.order.Len() > 0 {
		st.evict(st.order.Back())
	}
	return rejected
}

func (st *store) evict(el *list.Element) {
	e := el.Value.(*entry)
	st.order.Remove(el)
	delete(st.traces, e.id)
	st.bytes -= e.bytes
	for _, s := range slices.Concat(e.spans, e.lines) {
		s.origin.uses--
		if s.origin.uses == 0 {
			delete(st.origins, s.origin.key)
			st.bytes -= s.origin.bytes
		}
	}
}

// get returns the trace as it is now, or nil.
func (st *store) get(id traceID) *trace {
	st.mu.RLock()
	defer st.mu.RUnlock()
	if e := st.traces[id]; e != nil {
		t := e.trace
		return &t
	}
	return nil
}

// recent returns all traces as they are now, the latest to receive a span first. A search reads
// them without the lock, so that it does not hold up the spans that arrive meanwhile.
func (st *store) recent() []trace {
	st.mu.RLock()
	defer st.mu.RUnlock()
	ts := make([]trace, 0, st.order.Len())
	for el := st.order.Front(); el != nil; el = el.Next() {
		ts = append(ts, el.Value.(*entry).trace)
	}
	return ts
}
