package collector

import (
	"reflect"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
)

// The bound on bytes is one on memory. Decoded spans take several times the
// room of their wire form, so the structs are counted, not the wire's bytes.
var (
	spanBytes = sizeOf[tracepb.Span]() + 8 + 16 + // ids
		sizeOf[span]() + 8 + 8 // entry in trace.spans and in entry.ids
	eventBytes    = sizeOf[tracepb.Span_Event]() + pointerBytes
	linkBytes     = sizeOf[tracepb.Span_Link]() + pointerBytes + 8 + 16
	keyValueBytes = sizeOf[commonpb.KeyValue]() + pointerBytes
	anyValueBytes = sizeOf[commonpb.AnyValue]() + 16 // the smallest oneof holder
	statusBytes   = sizeOf[tracepb.Status]()

	// entryBytes is what a trace takes before its first span: the records and
	// map slots of the store.
	entryBytes = sizeOf[entry]() + sizeOf[trace]() + 48 /* list.Element */ + 48 /* map */ + 2*(16+8)

	resourceBytes = sizeOf[resource]() + sizeOf[resourcepb.Resource]() + 48
	scopeBytes    = sizeOf[scope]() + sizeOf[commonpb.InstrumentationScope]() + 48
)

const pointerBytes = 8

func sizeOf[T any]() int64 { return int64(reflect.TypeFor[T]().Size()) }

func (s *scope) totalBytes() int64 { return s.bytes + s.resource.bytes }

func sizeOfSpan(s *tracepb.Span) int64 {
	n := spanBytes + int64(len(s.ParentSpanId)+len(s.TraceState)+len(s.Name)) + sizeOfAttributes(s.Attributes)
	for _, e := range s.Events {
		n += eventBytes + int64(len(e.GetName())) + sizeOfAttributes(e.GetAttributes())
	}
	for _, l := range s.Links {
		n += linkBytes + int64(len(l.GetTraceState())) + sizeOfAttributes(l.GetAttributes())
	}
	if s.Status != nil {
		n += statusBytes + int64(len(s.Status.Message))
	}
	return n
}

func sizeOfAttributes(kvs []*commonpb.KeyValue) int64 {
	var n int64
	for _, kv := range kvs {
		n += keyValueBytes + int64(len(kv.GetKey())) + sizeOfValue(kv.GetValue())
	}
	return n
}

// sizeOfValue recurses as deep as the value is nested, which decoding limits.
func sizeOfValue(v *commonpb.AnyValue) int64 {
	if v == nil {
		return 0
	}
	n := anyValueBytes
	switch v := v.Value.(type) {
	case *commonpb.AnyValue_StringValue:
		n += int64(len(v.StringValue))
	case *commonpb.AnyValue_BytesValue:
		n += int64(len(v.BytesValue))
	case *commonpb.AnyValue_ArrayValue:
		n += sizeOf[commonpb.ArrayValue]()
		for _, e := range v.ArrayValue.GetValues() {
			n += pointerBytes + sizeOfValue(e)
		}
	case *commonpb.AnyValue_KvlistValue:
		n += sizeOf[commonpb.KeyValueList]() + sizeOfAttributes(v.KvlistValue.GetValues())
	}
	return n
}
