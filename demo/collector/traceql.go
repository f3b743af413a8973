package collector

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"example.com/grafana-tempo-go-demo/demo/tempo"
)

// What is understood of TraceQL. A name ends where Tempo's lexer ends it. The hint asks for the newest
// traces, which are answered anyway.
const (
	comparison = `(resource\.|span\.|)([^\s{}()=~!<>&|^,"]+)\s*(!=|<=|>=|=~|=|<|>)\s*` +
		`("(?:[^"\\\n]|\\.)*"|-?[0-9][0-9a-zµ.]*|[a-z]+)`
	spanset = `\{\s*(?:` + comparison + `(?:\s*&&\s*` + comparison + `)*)?\s*\}`
	hint    = `with\s*\(\s*most_recent\s*=\s*true\s*\)`
	field   = `(resource\.|span\.)([^\s(),]+)`
	pipe    = `\|\s*select\s*\(\s*(?P<select>` + field + `(?:\s*,\s*` + field + `)*)\s*\)\s*`
	whole   = `^\s*` + spanset + `(?:\s*&&\s*` + spanset + `)*\s*(?:` + pipe + `)?(?:` + hint + `\s*)?$`
)

var (
	comparisons = regexp.MustCompile(comparison)
	spansets    = regexp.MustCompile(spanset)
	fields      = regexp.MustCompile(field)
	understood  = regexp.MustCompile(whole)
)

var errTraceQL = errors.New(`invalid TraceQL query: this collector answers { } and { resource.x = "y" && span.z > 1 && name != "n" && ` +
	`kind = server && status = error && duration > 1s && traceDuration > 1s }, with =, !=, <, <=, >, >= and =~, ` +
	`several of them with && between, and | select(span.x) after them; ask a real Tempo for more`)

// intrinsics are what a span has besides attributes, in the types of the values that they compare to.
var intrinsics = map[string]func(*trace, span) any{
	"name":   func(_ *trace, s span) any { return s.GetName() },
	"kind":   func(_ *trace, s span) any { return s.GetKind() },
	"status": func(_ *trace, s span) any { return s.GetStatus().GetCode() },
	"duration": func(_ *trace, s span) any { // nanoseconds
		return float64(s.GetEndTimeUnixNano()) - float64(s.GetStartTimeUnixNano())
	},
	"traceDuration": func(t *trace, _ span) any { return float64(t.end) - float64(t.start) },
}

// words are the values that TraceQL writes without quotes.
var words = map[string]any{
	"true": true, "false": false,
	"unset":       tracepb.Status_STATUS_CODE_UNSET,
	"ok":          tracepb.Status_STATUS_CODE_OK,
	"error":       tracepb.Status_STATUS_CODE_ERROR,
	"unspecified": tracepb.Span_SPAN_KIND_UNSPECIFIED,
	"internal":    tracepb.Span_SPAN_KIND_INTERNAL,
	"server":      tracepb.Span_SPAN_KIND_SERVER,
	"client":      tracepb.Span_SPAN_KIND_CLIENT,
	"producer":    tracepb.Span_SPAN_KIND_PRODUCER,
	"consumer":    tracepb.Span_SPAN_KIND_CONSUMER,
}

type condition func(*trace, span) bool

// query is what was asked. As in Tempo, the conditions in one pair of braces have to hold for one and
// the same span, and each such pair for a span of the trace.
type query struct {
	sets     [][]condition
	selected [][]string // scope and name of attributes
}

func parseTraceQL(q string) (*query, error) {
	parts := understood.FindStringSubmatch(q)
	if parts == nil {
		return nil, errTraceQL
	}
	parsed := &query{}
	for _, names := range fields.FindAllStringSubmatch(parts[understood.SubexpIndex("select")], -1) {
		parsed.selected = append(parsed.selected, names[1:])
	}
	for _, set := range spansets.FindAllString(q, -1) {
		var conditions []condition
		for _, parts := range comparisons.FindAllStringSubmatch(set, -1) {
			holds := newCondition(parts[1], parts[2], parts[3], parts[4])
			if holds == nil {
				return nil, fmt.Errorf("%s: %w", parts[0], errTraceQL)
			}
			conditions = append(conditions, holds)
		}
		parsed.sets = append(parsed.sets, conditions)
	}
	return parsed, nil
}

// finds returns the spans of a trace for which a set of conditions holds; none if one of the sets holds for none.
func (q *query) finds(t *trace) (found []span) {
	for _, set := range q.sets {
		before := len(found)
		for _, s := range t.spans {
			if !slices.ContainsFunc(set, func(holds condition) bool { return !holds(t, s) }) {
				found = append(found, s)
			}
		}
		if len(found) == before {
			return nil
		}
	}
	return found
}

// newCondition makes the test of one comparison, or nil of one that no span can fulfil: Tempo refuses
// that too.
func newCondition(scope, name, operator, text string) condition {
	want := parseValue(text)
	literal, isText := want.(string)
	_, isNumber := want.(float64)
	if want == nil || !isText && !isNumber && operator != "=" && operator != "!=" {
		return nil
	}
	holds := func(got any) bool { return compare(got, operator, want) }
	if operator == "=~" {
		pattern, err := regexp.Compile("^(?:" + literal + ")$")
		if !isText || err != nil {
			return nil
		}
		holds = func(got any) bool { s, ok := got.(string); return ok && pattern.MatchString(s) }
	}
	if scope == "" {
		intrinsic := intrinsics[name]
		if intrinsic == nil || reflect.TypeOf(intrinsic(&trace{}, span{})) != reflect.TypeOf(want) {
			return nil
		}
		return func(t *trace, s span) bool { return holds(intrinsic(t, s)) }
	}
	return func(_ *trace, s span) bool {
		values := valuesOf(s.attributes(scope), name)
		if operator == "!=" { // of a list, none may be equal; a missing attribute is not unequal
			return len(values) > 0 && !slices.ContainsFunc(values, func(v any) bool { return !holds(v) })
		}
		return slices.ContainsFunc(values, holds)
	}
}

// attributes are those of a scope, "span." or "resource.".
func (s span) attributes(scope string) []*commonpb.KeyValue {
	if scope == "resource." {
		return s.origin.sent.Resource.Attributes
	}
	return s.Attributes
}

// parseValue reads a text, a word, a number, or a duration as its nanoseconds; nil if it is none.
func parseValue(text string) any {
	if word, ok := words[text]; ok {
		return word
	}
	if s, err := strconv.Unquote(text); err == nil {
		return s
	}
	if number, err := strconv.ParseFloat(text, 64); err == nil {
		return number
	}
	if d, err := time.ParseDuration(text); err == nil {
		return float64(d)
	}
	return nil
}

// compare reports whether a comparison holds, which those of two types never do. Words are only equal or
// not.
func compare(got any, operator string, want any) bool {
	if reflect.TypeOf(got) != reflect.TypeOf(want) {
		return false
	}
	order := 1
	switch want := want.(type) {
	case string:
		order = cmp.Compare(got.(string), want)
	case float64:
		order = cmp.Compare(got.(float64), want)
	default:
		if got == want {
			order = 0
		}
	}
	if operator == "!=" {
		return order != 0
	}
	return strings.Contains(operator, "<=>"[order+1:order+2])
}

// valuesOf returns what an attribute is, of a list each value; nothing where it is missing or of a
// type that cannot be asked for.
func valuesOf(attributes []*commonpb.KeyValue, key string) (values []any) {
	for _, kv := range attributes {
		if kv.Key != key {
			continue
		}
		for _, v := range append([]*commonpb.AnyValue{kv.Value}, kv.Value.GetArrayValue().GetValues()...) {
			switch v := tempo.Plain(v).(type) {
			case string, bool, float64:
				values = append(values, v)
			case int64:
				values = append(values, float64(v))
			}
		}
	}
	return values
}
