package collector

import (
	"bytes"
	"fmt"
	"reflect"
	"runtime"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Two bytes on the wire, a field's number and a length of zero, decode to a
// span of a hundred times that size: 20 MiB could take 3 GB. So a large
// request is weighed before it is decoded, and few are decoded at a time.
const (
	// maxDecodedBytes bounds one export in memory. Exporters' batches weigh
	// some six times their length, so that maxRequestBytes bounds those.
	maxDecodedBytes = 256 << 20
	// lightBytes is the length up to which a request is neither weighed nor
	// made to wait: it decodes to a few megabytes at most.
	lightBytes = 64 << 10
	// jsonObjectBytes is what an object in JSON is taken to weigh; most are
	// attributes and their values.
	jsonObjectBytes = 128
)

// maxDecoding is how many large requests are in memory decoded at a time.
var maxDecoding = max(2, min(4, runtime.GOMAXPROCS(0)))

// admit returns when there is room to decode a request, of the content type
// that it has over HTTP. Release says that it is needed no longer. The error
// says that there will never be.
func (c *Collector) admit(contentType string, data []byte) (release func(), err error) {
	if len(data) <= lightBytes {
		return func() {}, nil
	}
	weight := int64(len(data))
	if contentType == contentJSON {
		weight += jsonObjectBytes * int64(bytes.Count(data, []byte("{")))
	} else {
		weight += exportShape.weigh(data, 0)
	}
	if weight > maxDecodedBytes {
		return nil, fmt.Errorf("the export would take %d MiB of memory, and may take %d: send fewer spans at a time", weight>>20, maxDecodedBytes>>20)
	}
	c.decoding <- struct{}{}
	return func() { <-c.decoding }, nil
}

// shape is what has to be known of a protobuf message to weigh it.
type shape struct {
	bytes  int64                       // of its Go struct and a pointer to it
	fields map[protowire.Number]*shape // those that are messages themselves
}

var exportShape = shapeOf((&coltracepb.ExportTraceServiceRequest{}).ProtoReflect().Type(), map[protoreflect.FullName]*shape{})

// shapeOf follows the fields of a message type; known holds what it has met,
// as attribute values hold attribute values.
func shapeOf(t protoreflect.MessageType, known map[protoreflect.FullName]*shape) *shape {
	name := t.Descriptor().FullName()
	if s := known[name]; s != nil {
		return s
	}
	s := &shape{
		bytes:  int64(reflect.TypeOf(t.New().Interface()).Elem().Size()) + pointerBytes,
		fields: map[protowire.Number]*shape{},
	}
	known[name] = s
	fields := t.Descriptor().Fields()
	for i := range fields.Len() {
		if m := fields.Get(i).Message(); m != nil {
			// The generated code of all of them is linked in, or there were
			// no Go field to decode into.
			if t, err := protoregistry.GlobalTypes.FindMessageByName(m.FullName()); err == nil {
				s.fields[fields.Get(i).Number()] = shapeOf(t, known)
			}
		}
	}
	return s
}

// weigh adds up the messages in data. What is malformed or nested too deeply
// ends it: decoding ends there too.
func (s *shape) weigh(data []byte, depth int) int64 {
	n := s.bytes
	for depth <= maxNesting && len(data) > 0 {
		number, wireType, length := protowire.ConsumeTag(data)
		if length < 0 {
			break
		}
		data = data[length:]
		if field := s.fields[number]; field != nil && wireType == protowire.BytesType {
			inner, length := protowire.ConsumeBytes(data)
			if length < 0 {
				break
			}
			n += field.weigh(inner, depth+1)
			data = data[length:]
			continue
		}
		if length = protowire.ConsumeFieldValue(number, wireType, data); length < 0 {
			break
		}
		data = data[length:]
	}
	return n
}
