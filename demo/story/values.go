package story

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"example.com/grafana-tempo-go-demo/demo/header"
	"example.com/grafana-tempo-go-demo/demo/tempo"
)

// Value is an attribute, or one of a process.
type Value struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	Type  string `json:"type,omitempty"` // int, double, bool, list, map, bytes or empty; "" for a string
}

// Values are in order of their keys.
type Values []Value

func newValues(attributes map[string]any) Values {
	values := make(Values, 0, len(attributes))
	for key, v := range attributes {
		values = append(values, newValue(key, v))
	}
	slices.SortFunc(values, func(a, b Value) int { return strings.Compare(a.Key, b.Key) })
	return values
}

func newValue(key string, v any) Value {
	switch v := v.(type) {
	case nil:
		return Value{key, "", "empty"}
	case string:
		return Value{key, v, ""}
	case []byte:
		return Value{key, base64.StdEncoding.EncodeToString(v), "bytes, base64"}
	}
	kinds := map[reflect.Kind]string{reflect.Bool: "bool", reflect.Int64: "int", reflect.Float64: "double", reflect.Slice: "list"}
	text, err := json.Marshal(v)
	if err != nil { // it holds what JSON cannot, such as NaN
		text = fmt.Append(nil, v)
	}
	return Value{key, string(text), cmp.Or(kinds[reflect.TypeOf(v).Kind()], "map")}
}

// Event is a moment within a span.
type Event struct {
	Name       string `json:"name"`
	At         Time   `json:"at"`            // since the trace began
	After      Time   `json:"after"`         // since the span began
	Bad        bool   `json:"bad,omitempty"` // it records an error
	Attributes Values `json:"attributes,omitempty"`
}

// Answer is a traceresponse header that a span wrote down in an event.
type Answer struct {
	Value   string
	TraceID string
	SpanID  string
	Event   string // its name
}

// describe adds what a reader of one span wants to know.
func (t *Trace) describe() {
	known := map[uintptr]int{} // spans of one process share their map
	for _, s := range t.Spans {
		key := reflect.ValueOf(s.Span.Resource).Pointer()
		if _, ok := known[key]; !ok || key == 0 {
			known[key] = len(t.Resources)
			t.Resources = append(t.Resources, newValues(s.Span.Resource))
		}
		s.Resource, s.Attributes = known[key], newValues(s.Span.Attributes)
		for _, e := range s.Span.Events {
			at := Time(e.Time.Sub(t.StartedAt))
			s.Events = append(s.Events, Event{e.Name, at, at - s.Start, e.Name == "exception", newValues(e.Attributes)})
		}
		s.Notes = t.spanNotes(s)
	}
}

// readAnswers reads the events for traceresponse headers.
func readAnswers(s *tempo.Span) (answers []Answer) {
	for _, e := range s.Events {
		value, _ := e.Attributes[header.TraceResponse].(string)
		if h := header.Decode(header.TraceResponse, value); h.TraceID != "" {
			answers = append(answers, Answer{value, h.TraceID, h.SpanID, e.Name})
		}
	}
	return answers
}
