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

	"example.com/grafana-tempo-go-demo/demo/traceid"
)

// decode reads the answer of /api/v2/traces: OTLP's messages in protobuf's JSON, and so with ids in
// base64. No spans are a trace that is not known. Newer versions may add fields. Partial is not empty
// if Tempo says that there is more.
func decode(body []byte) (spans []*Span, partial string, err error) {
	answer := gjson.ParseBytes(body) // does not read a large trace twice
	trace := answer.Get("trace")
	var data tracepb.TracesData
	switch {
	case trace.IsObject():
		err = protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal([]byte(trace.Raw), &data)
	case !answer.IsObject() || !json.Valid(body):
		err = errors.New("no JSON object")
	}
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrNotTempo, err)
	}
	if strings.Contains(strings.ToUpper(answer.Get("status").String()), "PARTIAL") {
		partial = cmp.Or(answer.Get("message").String(), "The store sent only part of this trace.")
	}
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
	return spans, partial, nil
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
