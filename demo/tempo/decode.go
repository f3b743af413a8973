package tempo

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

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

// somePartial is what Partial says if Tempo does not.
const somePartial = "The store sent only part of this trace."

// readProtobuf and readJSON read the answer of /api/v2/traces. No spans are a trace that is not known.
// Newer versions may add fields. Partial is not empty if Tempo says that there is more.
func readProtobuf(body []byte) (data *tracepb.TracesData, partial string, err error) {
	data = &tracepb.TracesData{}
	message := ""
	for len(body) > 0 {
		number, kind, length := protowire.ConsumeField(body)
		if length < 0 {
			return nil, "", protowire.ParseError(length)
		}
		_, _, tag := protowire.ConsumeTag(body)
		switch {
		case number == fieldTrace && kind == protowire.BytesType:
			value, _ := protowire.ConsumeBytes(body[tag:])
			if err := proto.Unmarshal(value, data); err != nil {
				return nil, "", err
			}
		case number == fieldStatus && kind == protowire.VarintType:
			if status, _ := protowire.ConsumeVarint(body[tag:]); status == 1 {
				partial = somePartial
			}
		case number == fieldMessage && kind == protowire.BytesType:
			message, _ = protowire.ConsumeString(body[tag:])
		}
		body = body[length:]
	}
	if partial != "" {
		partial = cmp.Or(message, partial)
	}
	return data, partial, nil
}

func readJSON(body []byte) (data *tracepb.TracesData, partial string, err error) {
	var answer *struct {
		Trace           json.RawMessage
		Status, Message string
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, "", err
	}
	if answer == nil {
		return nil, "", errors.New("no object")
	}
	data = &tracepb.TracesData{}
	if len(answer.Trace) > 0 && string(answer.Trace) != "null" {
		if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(answer.Trace, data); err != nil {
			return nil, "", err
		}
	}
	if answer.Status == "PARTIAL" {
		partial = cmp.Or(answer.Message, somePartial)
	}
	return data, partial, nil
}

func newSpans(data *tracepb.TracesData) (spans []*Span) {
	for _, rs := range data.ResourceSpans {
		resource := attributes(rs.GetResource().GetAttributes())
		service, _ := resource["service.name"].(string)
		for _, ss := range rs.ScopeSpans {
			for _, pb := range ss.Spans {
				s := newSpan(pb)
				s.Resource, s.Service = resource, service
				s.Scope = Scope{Name: ss.GetScope().GetName(), Version: ss.GetScope().GetVersion()}
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
		m[kv.Key] = value(kv.Value)
	}
	return m
}

func value(v *commonpb.AnyValue) any {
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
			values = append(values, value(element))
		}
		return values
	case *commonpb.AnyValue_KvlistValue:
		return attributes(v.KvlistValue.GetValues())
	}
	return nil
}
