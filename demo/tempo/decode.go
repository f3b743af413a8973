package tempo

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tidwall/gjson"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"example.com/grafana-tempo-go-demo/demo/traceid"
)

// Tempo answers in the format that a request accepts.
const (
	contentProtobuf = "application/protobuf"
	contentJSON     = "application/json"
)

// Fields of a TraceByIDResponse, the answer of /api/v2/traces. Its trace is OTLP's TracesData:
// https://github.com/grafana/tempo/blob/main/pkg/tempopb/tempo.proto
const (
	fieldTrace   = 1
	fieldStatus  = 3 // 1 if the trace is partial
	fieldMessage = 4
)

// readTrace reads a TraceByIDResponse in either format. No spans are a trace that is not known. Newer
// versions may add fields. Partial is not empty if Tempo says that there is more.
func readTrace(body []byte, mediaType string) (data *tracepb.TracesData, partial string, err error) {
	data = &tracepb.TracesData{}
	isPart := false
	if mediaType == contentProtobuf {
		fields := map[protowire.Number][]byte{}
		for len(body) > 0 {
			number, _, length := protowire.ConsumeField(body)
			if length < 0 {
				return nil, "", protowire.ParseError(length)
			}
			_, _, tag := protowire.ConsumeTag(body)
			fields[number], body = body[tag:length], body[length:]
		}
		trace, _ := protowire.ConsumeBytes(fields[fieldTrace])
		status, _ := protowire.ConsumeVarint(fields[fieldStatus])
		partial, _ = protowire.ConsumeString(fields[fieldMessage])
		isPart, err = status == 1, proto.Unmarshal(trace, data)
	} else {
		answer, readErr := parse(body)
		if readErr != nil {
			return nil, "", readErr
		}
		isPart, partial = answer.Get("status").String() == "PARTIAL", answer.Get("message").String()
		if trace := answer.Get("trace"); trace.IsObject() {
			err = protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal([]byte(trace.Raw), data)
		}
	}
	if !isPart {
		return data, "", err
	}
	return data, cmp.Or(partial, "The store sent only part of this trace."), err
}

// parse reads a JSON object.
func parse(body []byte) (gjson.Result, error) {
	answer := gjson.ParseBytes(body)
	if !json.Valid(body) || !answer.IsObject() { // gjson's own Valid recurses without a bound
		return answer, errors.New("it is no JSON object")
	}
	return answer, nil
}

func newSpans(data *tracepb.TracesData) (spans []*Span) {
	for _, rs := range data.GetResourceSpans() {
		resource := attributes(rs.GetResource().GetAttributes())
		service, _ := resource["service.name"].(string)
		for _, ss := range rs.ScopeSpans {
			for _, pb := range ss.Spans {
				s := newSpan(pb)
				s.Resource, s.Service = resource, service
				s.Scope = strings.TrimSpace(ss.GetScope().GetName() + " " + ss.GetScope().GetVersion())
				spans = append(spans, s)
			}
		}
	}
	return spans
}

func newSpan(pb *tracepb.Span) *Span {
	s := &Span{
		SpanID:        traceid.Hex(pb.SpanId, traceid.SpanDigits), // some back ends leave out leading zeros
		ParentID:      traceid.Hex(pb.ParentSpanId, traceid.SpanDigits),
		Name:          pb.Name,
		Kind:          enumName(pb.Kind, "SPAN_KIND_"),
		Start:         unixNano(pb.StartTimeUnixNano),
		End:           unixNano(pb.EndTimeUnixNano),
		Status:        enumName(pb.GetStatus().GetCode(), "STATUS_CODE_"),
		StatusMessage: pb.GetStatus().GetMessage(),
		Attributes:    attributes(pb.Attributes),
		Links:         len(pb.Links),
	}
	if strings.Trim(s.ParentID, "0") == "" {
		s.ParentID = ""
	}
	for _, e := range pb.Events {
		s.Events = append(s.Events, Event{Name: e.Name, Time: unixNano(e.TimeUnixNano), Attributes: attributes(e.Attributes)})
	}
	return s
}

// enumName turns SPAN_KIND_SERVER into server.
func enumName(e fmt.Stringer, prefix string) string {
	return strings.ToLower(strings.TrimPrefix(e.String(), prefix))
}

func unixNano(ns uint64) time.Time { return time.Unix(0, int64(ns)) }

func attributes(list []*commonpb.KeyValue) map[string]any {
	m := make(map[string]any, len(list))
	for _, kv := range list {
		m[kv.Key] = Plain(kv.Value)
	}
	return m
}

// Plain is a value of OTLP in Go's own types.
func Plain(v *commonpb.AnyValue) any {
	switch v := v.GetValue().(type) {
	case *commonpb.AnyValue_StringValue:
		return v.StringValue
	case *commonpb.AnyValue_BoolValue:
		return v.BoolValue
	case *commonpb.AnyValue_IntValue:
		return v.IntValue
	case *commonpb.AnyValue_DoubleValue:
		return v.DoubleValue
	case *commonpb.AnyValue_BytesValue:
		return v.BytesValue
	case *commonpb.AnyValue_ArrayValue:
		values := []any{}
		for _, element := range v.ArrayValue.GetValues() {
			values = append(values, Plain(element))
		}
		return values
	case *commonpb.AnyValue_KvlistValue:
		return attributes(v.KvlistValue.GetValues())
	}
	return nil
}
