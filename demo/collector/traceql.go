package collector

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
)

// comparison is one condition of TraceQL: a name, which ends where Tempo's lexer ends it, an operator
// and a value.
var comparison = regexp.MustCompile(`^\s*(resource\.|span\.|)([^\s{}()=~!<>&|^,"]+)\s*(!=|<=|>=|=|<|>)\s*` +
	`("(?:[^"\\\n]|\\.)*"|-?[0-9][0-9a-zµ.]*|(?:true|false|unset|ok|error|` +
	`unspecified|internal|server|client|producer|consumer)\b)\s*`)

const supportedTraceQL = `this collector answers { } and { resource.x = "y" && span.z > 1 && name != "n" && ` +
	`kind = server && status = error && duration > 1s }, with =, !=, <, <=, > and >=; ask a real Tempo for more`

// word is a value that TraceQL writes without quotes: a status, a kind, or a bool.
type word string

// intrinsics are what a span has besides attributes. Their types are those of the values that they
// compare to.
var intrinsics = map[string]func(*tracepb.Span) any{
	"name":   func(s *tracepb.Span) any { return s.GetName() },
	"kind":   func(s *tracepb.Span) any { return enum(s.GetKind().String(), "SPAN_KIND_") },
	"status": func(s *tracepb.Span) any { return enum(s.GetStatus().GetCode().String(), "STATUS_CODE_") },
	"duration": func(s *tracepb.Span) any { // nanoseconds
		return float64(s.GetEndTimeUnixNano()) - float64(s.GetStartTimeUnixNano())
	},
}

// operators say whether they hold for the order of two values.
var operators = map[string]func(order int) bool{
	"=":  func(order int) bool { return order == 0 },
	"!=": func(order int) bool { return order != 0 },
	"<":  func(order int) bool { return order < 0 },
	"<=": func(order int) bool { return order <= 0 },
	">":  func(order int) bool { return order > 0 },
	">=": func(order int) bool { return order >= 0 },
}

func enum(name, prefix string) word { return word(strings.ToLower(strings.TrimPrefix(name, prefix))) }

// parseTraceQL reads conditions. As in Tempo, all have to hold for one and the same span.
func parseTraceQL(q string) (func(span) bool, error) {
	unsupported := fmt.Errorf("invalid TraceQL query: %s", supportedTraceQL)
	rest, opened := strings.CutPrefix(strings.TrimSpace(q), "{")
	rest, closed := strings.CutSuffix(rest, "}")
	if !opened || !closed {
		return nil, unsupported
	}
	var conditions []func(span) bool
	for more := strings.TrimSpace(rest) != ""; more; {
		parts := comparison.FindStringSubmatch(rest)
		if parts == nil {
			return nil, unsupported
		}
		condition := newCondition(parts[1], parts[2], parts[3], parts[4])
		if condition == nil {
			return nil, fmt.Errorf("invalid TraceQL query: %s: %s", strings.TrimSpace(parts[0]), supportedTraceQL)
		}
		conditions = append(conditions, condition)
		if rest, more = strings.CutPrefix(rest[len(parts[0]):], "&&"); !more && rest != "" {
			return nil, unsupported
		}
	}
	return func(s span) bool {
		return !slices.ContainsFunc(conditions, func(holds func(span) bool) bool { return !holds(s) })
	}, nil
}

// newCondition makes the test of one comparison, or nil of one that no span can fulfil: Tempo refuses
// that too.
func newCondition(scope, name, operator, text string) func(span) bool {
	want, err := parseValue(text)
	_, isWord := want.(word)
	if err != nil || isWord && operator != "=" && operator != "!=" {
		return nil
	}
	holds := func(got any) bool {
		order, comparable := compare(got, want)
		return comparable && operators[operator](order)
	}
	if scope == "" {
		intrinsic := intrinsics[name]
		if intrinsic == nil {
			return nil
		}
		_, isKind := tracepb.Span_SpanKind_value["SPAN_KIND_"+strings.ToUpper(text)]
		_, isStatus := tracepb.Status_StatusCode_value["STATUS_CODE_"+strings.ToUpper(text)]
		_, comparable := compare(intrinsic(nil), want)
		if !comparable || isKind != (name == "kind") || isStatus != (name == "status") {
			return nil
		}
		return func(s span) bool { return holds(intrinsic(s.Span)) }
	}
	return func(s span) bool {
		attributes := s.Attributes
		if scope == "resource." {
			attributes = s.origin.resource.Resource.Attributes
		}
		values := valuesOf(attributes, name)
		if operator == "!=" { // of a list, none may be equal; a missing attribute is not unequal
			return len(values) > 0 && !slices.ContainsFunc(values, func(v any) bool { return !holds(v) })
		}
		return slices.ContainsFunc(values, holds)
	}
}

// parseValue reads a text, a word, a number, or a duration as its nanoseconds.
func parseValue(text string) (any, error) {
	switch first := text[0]; {
	case first == '"':
		return strconv.Unquote(text)
	case first >= 'a':
		return word(text), nil
	}
	if number, err := strconv.ParseFloat(text, 64); err == nil {
		return number, nil
	}
	d, err := time.ParseDuration(text)
	return float64(d), err
}

func compare(got, want any) (order int, comparable bool) {
	switch want := want.(type) {
	case string:
		got, ok := got.(string)
		return cmp.Compare(got, want), ok
	case word:
		got, ok := got.(word)
		return cmp.Compare(got, want), ok
	default:
		got, ok := got.(float64)
		return cmp.Compare(got, want.(float64)), ok
	}
}

// valuesOf returns what an attribute is, of a list each value; nothing where it is missing or of a
// type that cannot be asked for.
func valuesOf(attributes []*commonpb.KeyValue, key string) (values []any) {
	for _, kv := range attributes {
		if kv.Key != key {
			continue
		}
		for _, v := range append([]*commonpb.AnyValue{kv.Value}, kv.Value.GetArrayValue().GetValues()...) {
			switch v := v.GetValue().(type) {
			case *commonpb.AnyValue_StringValue:
				values = append(values, v.StringValue)
			case *commonpb.AnyValue_BoolValue:
				values = append(values, word(strconv.FormatBool(v.BoolValue)))
			case *commonpb.AnyValue_IntValue:
				values = append(values, float64(v.IntValue))
			case *commonpb.AnyValue_DoubleValue:
				values = append(values, v.DoubleValue)
			}
		}
	}
	return values
}
