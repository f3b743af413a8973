package collector

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"math"
	"slices"
	"strconv"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Tempo's JSON is protobuf's own mapping in the order of the fields, as gogo's
// jsonpb writes it: ids in base64, 64-bit integers as strings, enums by name,
// zero values left out. protojson differs in order and puts in random spaces,
// so the encoding is written out here; it is also several times faster.

// sorted returns the spans in the order of Tempo's answers.
func (t *trace) sorted() []span {
	return slices.SortedFunc(slices.Values(t.spans), func(a, b span) int {
		return cmp.Or(cmp.Compare(a.StartTimeUnixNano, b.StartTimeUnixNano), bytes.Compare(a.SpanId, b.SpanId))
	})
}

// data groups the spans by resource and scope, earliest first.
func (t *trace) data() *tracepb.TracesData {
	d := &tracepb.TracesData{}
	resources := map[*resource]*tracepb.ResourceSpans{}
	scopes := map[*scope]*tracepb.ScopeSpans{}
	for _, s := range t.sorted() {
		ss := scopes[s.scope]
		if ss == nil {
			rs := resources[s.scope.resource]
			if rs == nil {
				rs = &tracepb.ResourceSpans{Resource: s.scope.resource.pb, SchemaUrl: s.scope.resource.schemaURL}
				resources[s.scope.resource] = rs
				d.ResourceSpans = append(d.ResourceSpans, rs)
			}
			ss = &tracepb.ScopeSpans{Scope: s.scope.pb, SchemaUrl: s.scope.schemaURL}
			scopes[s.scope] = ss
			rs.ScopeSpans = append(rs.ScopeSpans, ss)
		}
		ss.Spans = append(ss.Spans, s.Span)
	}
	return d
}

// object appends the members of a JSON object, with commas where needed.
type object struct {
	b     []byte
	empty bool
}

func open(b []byte) object { return object{append(b, '{'), true} }

func (o *object) close() []byte { return append(o.b, '}') }

func (o *object) key(name string) {
	if !o.empty {
		o.b = append(o.b, ',')
	}
	o.empty = false
	o.b = append(o.b, '"')
	o.b = append(o.b, name...)
	o.b = append(o.b, '"', ':')
}

func (o *object) str(name, v string) {
	if v != "" {
		o.key(name)
		o.b = appendString(o.b, v)
	}
}

func (o *object) base64(name string, v []byte) {
	if len(v) > 0 {
		o.key(name)
		o.b = appendBase64(o.b, v)
	}
}

func (o *object) uint64(name string, v uint64) {
	if v != 0 {
		o.key(name)
		o.b = append(o.b, '"')
		o.b = strconv.AppendUint(o.b, v, 10)
		o.b = append(o.b, '"')
	}
}

func (o *object) uint32(name string, v uint32) {
	if v != 0 {
		o.key(name)
		o.b = strconv.AppendUint(o.b, uint64(v), 10)
	}
}

// enum writes a value's name, or its number when it has none.
func (o *object) enum(name string, v int32, names map[int32]string) {
	if v == 0 {
		return
	}
	o.key(name)
	if s, ok := names[v]; ok {
		o.b = appendString(o.b, s)
		return
	}
	o.b = strconv.AppendInt(o.b, int64(v), 10)
}

// array writes a member per element, and nothing for none.
func array[T any](o *object, name string, vs []T, element func([]byte, T) []byte) {
	if len(vs) > 0 {
		o.key(name)
		o.b = appendArray(o.b, vs, element)
	}
}

func appendArray[T any](b []byte, vs []T, element func([]byte, T) []byte) []byte {
	b = append(b, '[')
	for i, v := range vs {
		if i > 0 {
			b = append(b, ',')
		}
		b = element(b, v)
	}
	return append(b, ']')
}

// appendTrace writes a trace; name is that of its one member, which the two
// versions of the API call differently.
func appendTrace(b []byte, d *tracepb.TracesData, name string) []byte {
	o := open(b)
	array(&o, name, d.ResourceSpans, appendResourceSpans)
	return o.close()
}

func appendResourceSpans(b []byte, rs *tracepb.ResourceSpans) []byte {
	o := open(b)
	o.key("resource")
	r := open(o.b)
	array(&r, "attributes", rs.Resource.Attributes, appendKeyValue)
	r.uint32("droppedAttributesCount", rs.Resource.DroppedAttributesCount)
	o.b = r.close()
	array(&o, "scopeSpans", rs.ScopeSpans, appendScopeSpans)
	o.str("schemaUrl", rs.SchemaUrl)
	return o.close()
}

func appendScopeSpans(b []byte, ss *tracepb.ScopeSpans) []byte {
	o := open(b)
	o.key("scope")
	s := open(o.b)
	s.str("name", ss.Scope.Name)
	s.str("version", ss.Scope.Version)
	array(&s, "attributes", ss.Scope.Attributes, appendKeyValue)
	s.uint32("droppedAttributesCount", ss.Scope.DroppedAttributesCount)
	o.b = s.close()
	array(&o, "spans", ss.Spans, appendSpan)
	o.str("schemaUrl", ss.SchemaUrl)
	return o.close()
}

func appendSpan(b []byte, s *tracepb.Span) []byte {
	o := open(b)
	o.base64("traceId", s.TraceId)
	o.base64("spanId", s.SpanId)
	o.str("traceState", s.TraceState)
	o.base64("parentSpanId", s.ParentSpanId)
	o.uint32("flags", s.Flags)
	o.str("name", s.Name)
	o.enum("kind", int32(s.Kind), tracepb.Span_SpanKind_name)
	o.uint64("startTimeUnixNano", s.StartTimeUnixNano)
	o.uint64("endTimeUnixNano", s.EndTimeUnixNano)
	array(&o, "attributes", s.Attributes, appendKeyValue)
	o.uint32("droppedAttributesCount", s.DroppedAttributesCount)
	array(&o, "events", s.Events, appendEvent)
	o.uint32("droppedEventsCount", s.DroppedEventsCount)
	array(&o, "links", s.Links, appendLink)
	o.uint32("droppedLinksCount", s.DroppedLinksCount)
	o.key("status")
	st := open(o.b)
	st.str("message", s.Status.GetMessage())
	st.enum("code", int32(s.Status.GetCode()), tracepb.Status_StatusCode_name)
	o.b = st.close()
	return o.close()
}

func appendEvent(b []byte, e *tracepb.Span_Event) []byte {
	o := open(b)
	o.uint64("timeUnixNano", e.TimeUnixNano)
	o.str("name", e.Name)
	array(&o, "attributes", e.Attributes, appendKeyValue)
	o.uint32("droppedAttributesCount", e.DroppedAttributesCount)
	return o.close()
}

func appendLink(b []byte, l *tracepb.Span_Link) []byte {
	o := open(b)
	o.base64("traceId", l.TraceId)
	o.base64("spanId", l.SpanId)
	o.str("traceState", l.TraceState)
	array(&o, "attributes", l.Attributes, appendKeyValue)
	o.uint32("droppedAttributesCount", l.DroppedAttributesCount)
	o.uint32("flags", l.Flags)
	return o.close()
}

func appendKeyValue(b []byte, kv *commonpb.KeyValue) []byte {
	o := open(b)
	o.str("key", kv.Key)
	o.key("value")
	o.b = appendValue(o.b, kv.Value)
	return o.close()
}

// appendValue writes one member, zero or not, as a oneof has it, or none for
// a value that was not set.
func appendValue(b []byte, v *commonpb.AnyValue) []byte {
	o := open(b)
	switch v := v.GetValue().(type) {
	case *commonpb.AnyValue_StringValue:
		o.key("stringValue")
		o.b = appendString(o.b, v.StringValue)
	case *commonpb.AnyValue_BoolValue:
		o.key("boolValue")
		o.b = strconv.AppendBool(o.b, v.BoolValue)
	case *commonpb.AnyValue_IntValue:
		o.key("intValue")
		o.b = append(o.b, '"')
		o.b = strconv.AppendInt(o.b, v.IntValue, 10)
		o.b = append(o.b, '"')
	case *commonpb.AnyValue_DoubleValue:
		o.key("doubleValue")
		o.b = appendDouble(o.b, v.DoubleValue)
	case *commonpb.AnyValue_BytesValue:
		o.key("bytesValue")
		o.b = appendBase64(o.b, v.BytesValue)
	case *commonpb.AnyValue_ArrayValue:
		o.key("arrayValue")
		a := open(o.b)
		array(&a, "values", v.ArrayValue.GetValues(), appendValue)
		o.b = a.close()
	case *commonpb.AnyValue_KvlistValue:
		o.key("kvlistValue")
		l := open(o.b)
		array(&l, "values", v.KvlistValue.GetValues(), appendKeyValue)
		o.b = l.close()
	}
	return o.close()
}

func appendDouble(b []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(b, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(b, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(b, `"-Infinity"`...)
	}
	text, _ := json.Marshal(f) // cannot fail on a finite number
	return append(b, text...)
}

func appendBase64(b, v []byte) []byte {
	b = append(b, '"')
	b = base64.StdEncoding.AppendEncode(b, v)
	return append(b, '"')
}

// appendString quotes as encoding/json does, which Tempo uses, faster for the
// usual string that has nothing to escape.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			text, _ := json.Marshal(s) // cannot fail on a string
			return append(b, text...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

func appendSearch(b []byte, r *searchResult) []byte {
	o := open(b)
	o.key("traces") // also when there are none
	o.b = appendArray(o.b, r.traces, appendSummary)
	o.key("metrics")
	m := open(o.b)
	if !r.traceQL {
		m.uint32("inspectedTraces", uint32(r.inspectedTraces))
	}
	m.uint64("inspectedBytes", uint64(r.inspectedBytes))
	m.uint32("completedJobs", 1)
	m.uint32("totalJobs", 1)
	o.b = m.close()
	return o.close()
}

func appendSummary(b []byte, s summary) []byte {
	o := open(b)
	o.str("traceID", s.traceID)
	o.str("rootServiceName", s.rootService)
	o.str("rootTraceName", s.rootName)
	o.uint64("startTimeUnixNano", s.start)
	o.uint32("durationMs", s.durationMillis)
	if s.set == nil {
		return o.close()
	}
	o.key("spanSet") // deprecated, for old clients the same as the first of spanSets
	o.b = appendSpanSet(o.b, s.set)
	array(&o, "spanSets", []*spanSet{s.set}, appendSpanSet)
	o.key("serviceStats")
	stats := open(o.b)
	for _, c := range s.services {
		// A name may need escapes, so it is no plain key.
		if !stats.empty {
			stats.b = append(stats.b, ',')
		}
		stats.empty = false
		stats.b = append(appendString(stats.b, c.name), ':')
		n := open(stats.b)
		n.uint32("spanCount", uint32(c.spans))
		n.uint32("errorCount", uint32(c.errors))
		stats.b = n.close()
	}
	o.b = stats.close()
	return o.close()
}

func appendSpanSet(b []byte, s *spanSet) []byte {
	o := open(b)
	array(&o, "spans", s.spans, func(b []byte, sp *tracepb.Span) []byte {
		o := open(b)
		o.key("spanID")
		o.b = appendString(o.b, hex.EncodeToString(sp.SpanId))
		o.uint64("startTimeUnixNano", sp.StartTimeUnixNano)
		o.uint64("durationNanos", sp.EndTimeUnixNano-sp.StartTimeUnixNano)
		return o.close()
	})
	o.uint32("matched", uint32(s.matched))
	return o.close()
}

// The protobuf answers follow tempo.proto of Tempo 3.0.3, whose generated code
// would bring all of Tempo with it. The numbers are its fields.

// wireTrace appends tempopb.Trace, which is OTLP's TracesData on the wire.
func wireTrace(b []byte, d *tracepb.TracesData) []byte {
	b, _ = proto.MarshalOptions{}.MarshalAppend(b, d) // decoded before, so it encodes
	return b
}

// wireTraceByID encodes tempopb.TraceByIDResponse, for a nil trace an empty one.
func wireTraceByID(t *trace) []byte {
	var d, metrics []byte
	if t != nil {
		d = wireTrace(nil, t.data())
		metrics = wireVarint(nil, 1, uint64(t.bytes))
	}
	return wireBytes(wireBytes(nil, 1, d), 2, metrics)
}

// wireSearch encodes tempopb.SearchResponse.
func wireSearch(r *searchResult) []byte {
	var b []byte
	for _, s := range r.traces {
		b = wireBytes(b, 1, wireSummary(s))
	}
	var m []byte
	if !r.traceQL {
		m = wireVarint(m, 1, uint64(r.inspectedTraces))
	}
	m = wireVarint(m, 2, uint64(r.inspectedBytes))
	m = wireVarint(m, 4, 1) // completedJobs
	m = wireVarint(m, 5, 1) // totalJobs
	return wireBytes(b, 2, m)
}

// wireSummary encodes tempopb.TraceSearchMetadata.
func wireSummary(s summary) []byte {
	b := wireString(nil, 1, s.traceID)
	b = wireString(b, 2, s.rootService)
	b = wireString(b, 3, s.rootName)
	b = wireVarint(b, 4, s.start)
	b = wireVarint(b, 5, uint64(s.durationMillis))
	if s.set == nil {
		return b
	}
	var set []byte
	for _, sp := range s.set.spans {
		x := wireString(nil, 1, hex.EncodeToString(sp.SpanId))
		x = wireVarint(x, 3, sp.StartTimeUnixNano)
		x = wireVarint(x, 4, sp.EndTimeUnixNano-sp.StartTimeUnixNano)
		set = wireBytes(set, 1, x)
	}
	set = wireVarint(set, 2, uint64(s.set.matched))
	b = wireBytes(b, 6, set)
	b = wireBytes(b, 7, set)
	for _, c := range s.services {
		counts := wireVarint(wireVarint(nil, 1, uint64(c.spans)), 2, uint64(c.errors))
		b = wireBytes(b, 8, wireBytes(wireString(nil, 1, c.name), 2, counts))
	}
	return b
}

// wireBytes appends a message, also an empty one.
func wireBytes(b []byte, field protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), v)
}

func wireString(b []byte, field protowire.Number, v string) []byte {
	if v == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), v)
}

func wireVarint(b []byte, field protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}
