package tempo

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Trace is one trace as far as it is known.
type Trace struct {
	ID    string  // 32 lower-case hexadecimal digits
	Spans []*Span // by start, but parents before their children
}

// Span is one span with its place in the trace.
type Span struct {
	TraceID  string // 32 lower-case hexadecimal digits
	SpanID   string // 16 of them
	ParentID string // 16 of them, or empty

	Name          string
	Kind          string // "server", "client", "internal", "producer", "consumer" or "unspecified"
	Service       string // service.name of the resource
	Start, End    time.Time
	Status        string // "ok", "error" or "unset"
	StatusMessage string

	// Attributes and Resource hold string, bool, int64, float64, []byte,
	// []any or map[string]any; nil for a value that was not set.
	Attributes, Resource map[string]any
	Events               []Event // in the order of the back end
	Children             []*Span // by start
}

// Event is a moment within a span.
type Event struct {
	Name       string
	Time       time.Time
	Attributes map[string]any // as of Span
}

// Roots returns the spans without a parent in the trace, by start: those that
// began it, and those whose parent is not there, or not yet.
func (t *Trace) Roots() []*Span {
	child := make(map[*Span]bool, len(t.Spans))
	for _, s := range t.Spans {
		for _, c := range s.Children {
			child[c] = true
		}
	}
	var roots []*Span
	for _, s := range t.Spans {
		if !child[s] {
			roots = append(roots, s)
		}
	}
	return roots
}

// newTrace links spans to a tree and puts them in order. Spans that are their
// own ancestors have no end: the link that would close the circle is left out.
func newTrace(id string, spans []*Span) *Trace {
	slices.SortStableFunc(spans, func(a, b *Span) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.SpanID, b.SpanID))
	})
	byID := make(map[string]*Span, len(spans))
	for _, s := range spans {
		if byID[s.SpanID] == nil {
			byID[s.SpanID] = s
		}
	}
	t := &Trace{ID: id, Spans: make([]*Span, 0, len(spans))}
	placed := make(map[*Span]bool, len(spans))
	for _, s := range spans {
		// Clocks of machines differ, so a child may start before its parent:
		// place all of its ancestors first.
		var line []*Span
		onLine := map[*Span]bool{}
		for p := s; p != nil && !placed[p] && !onLine[p]; p = byID[p.ParentID] {
			line = append(line, p)
			onLine[p] = true
		}
		for _, p := range slices.Backward(line) {
			if parent := byID[p.ParentID]; parent != nil && placed[parent] {
				parent.Children = append(parent.Children, p)
			}
			placed[p] = true
			t.Spans = append(t.Spans, p)
		}
	}
	for _, s := range t.Spans {
		slices.SortStableFunc(s.Children, func(a, b *Span) int { return a.Start.Compare(b.Start) })
	}
	return t
}

// The JSON of Tempo: OTLP's, with ids in base64 and enums by name.
type (
	traceJSON struct {
		ResourceSpans []resourceSpansJSON `json:"resourceSpans"`
	}
	resourceSpansJSON struct {
		Resource   struct{ Attributes []keyValueJSON } `json:"resource"`
		ScopeSpans []struct {
			Spans []spanJSON `json:"spans"`
		} `json:"scopeSpans"`
	}
	spanJSON struct {
		TraceID      string         `json:"traceId"`
		SpanID       string         `json:"spanId"`
		ParentSpanID string         `json:"parentSpanId"`
		Name         string         `json:"name"`
		Kind         string         `json:"kind"`
		Start        json.Number    `json:"startTimeUnixNano"`
		End          json.Number    `json:"endTimeUnixNano"`
		Attributes   []keyValueJSON `json:"attributes"`
		Events       []struct {
			Time       json.Number    `json:"timeUnixNano"`
			Name       string         `json:"name"`
			Attributes []keyValueJSON `json:"attributes"`
		} `json:"events"`
		Status struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"status"`
	}
	keyValueJSON struct {
		Key   string    `json:"key"`
		Value valueJSON `json:"value"`
	}
	// valueJSON has one of its members, or none.
	valueJSON struct {
		String *string                          `json:"stringValue"`
		Bool   *bool                            `json:"boolValue"`
		Int    *json.Number                     `json:"intValue"`
		Double json.RawMessage                  `json:"doubleValue"`
		Bytes  *[]byte                          `json:"bytesValue"`
		Array  *struct{ Values []valueJSON }    `json:"arrayValue"`
		Map    *struct{ Values []keyValueJSON } `json:"kvlistValue"`
	}
)

func (t *traceJSON) spans() ([]*Span, error) {
	var spans []*Span
	for _, rs := range t.ResourceSpans {
		resource, err := attributes(rs.Resource.Attributes)
		if err != nil {
			return nil, fmt.Errorf("resource: %w", err)
		}
		service, _ := resource["service.name"].(string)
		for _, ss := range rs.ScopeSpans {
			for _, j := range ss.Spans {
				s, err := j.span()
				if err != nil {
					return nil, fmt.Errorf("span %q: %w", j.Name, err)
				}
				s.Resource, s.Service = resource, service
				spans = append(spans, s)
			}
		}
	}
	return spans, nil
}

func (j *spanJSON) span() (*Span, error) {
	s := &Span{
		Name:          j.Name,
		Kind:          enumName(j.Kind, "SPAN_KIND_", "unspecified"),
		Status:        enumName(j.Status.Code, "STATUS_CODE_", "unset"),
		StatusMessage: j.Status.Message,
	}
	var err error
	if s.TraceID, err = hexID(j.TraceID, 16); err != nil {
		return nil, fmt.Errorf("traceId: %w", err)
	}
	if s.SpanID, err = hexID(j.SpanID, 8); err != nil {
		return nil, fmt.Errorf("spanId: %w", err)
	}
	if s.SpanID == "" {
		return nil, errors.New("it has no spanId")
	}
	if s.ParentID, err = hexID(j.ParentSpanID, 8); err != nil {
		return nil, fmt.Errorf("parentSpanId: %w", err)
	}
	if strings.Trim(s.ParentID, "0") == "" {
		s.ParentID = ""
	}
	if s.Start, err = unixNano(j.Start); err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	if s.End, err = unixNano(j.End); err != nil {
		return nil, fmt.Errorf("end: %w", err)
	}
	if s.Attributes, err = attributes(j.Attributes); err != nil {
		return nil, err
	}
	for _, je := range j.Events {
		e := Event{Name: je.Name}
		if e.Time, err = unixNano(je.Time); err != nil {
			return nil, fmt.Errorf("event %q: %w", je.Name, err)
		}
		if e.Attributes, err = attributes(je.Attributes); err != nil {
			return nil, fmt.Errorf("event %q: %w", je.Name, err)
		}
		s.Events = append(s.Events, e)
	}
	return s, nil
}

// enumName turns SPAN_KIND_SERVER into server; zero values are left out of
// the JSON.
func enumName(s, prefix, zero string) string {
	if s == "" {
		return zero
	}
	return strings.ToLower(strings.TrimPrefix(s, prefix))
}

// hexID decodes an id of n bytes from base64. Some back ends leave out leading
// zeros.
func hexID(s string, n int) (string, error) {
	if s == "" {
		return "", nil
	}
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return "", err
	}
	if len(b) > n {
		return "", fmt.Errorf("%q has %d bytes, more than %d", s, len(b), n)
	}
	return strings.Repeat("00", n-len(b)) + hex.EncodeToString(b), nil
}

// unixNano reads nanoseconds since 1970; none at all are 1970.
func unixNano(n json.Number) (time.Time, error) {
	if n == "" {
		return time.Unix(0, 0), nil
	}
	ns, err := strconv.ParseUint(string(n), 10, 64)
	if err != nil || ns > math.MaxInt64 {
		return time.Time{}, fmt.Errorf("%q is no time in nanoseconds", n)
	}
	return time.Unix(0, int64(ns)), nil
}

func attributes(kvs []keyValueJSON) (map[string]any, error) {
	m := make(map[string]any, len(kvs))
	for _, kv := range kvs {
		v, err := kv.Value.value()
		if err != nil {
			return nil, fmt.Errorf("attribute %q: %w", kv.Key, err)
		}
		m[kv.Key] = v
	}
	return m, nil
}

func (v *valueJSON) value() (any, error) {
	switch {
	case v.String != nil:
		return *v.String, nil
	case v.Bool != nil:
		return *v.Bool, nil
	case v.Int != nil:
		return strconv.ParseInt(string(*v.Int), 10, 64)
	case v.Double != nil:
		// "NaN" and "Infinity" are strings, everything else is a number.
		return strconv.ParseFloat(strings.Trim(string(v.Double), `"`), 64)
	case v.Bytes != nil:
		return *v.Bytes, nil
	case v.Array != nil:
		a := make([]any, len(v.Array.Values))
		for i := range v.Array.Values {
			var err error
			if a[i], err = v.Array.Values[i].value(); err != nil {
				return nil, err
			}
		}
		return a, nil
	case v.Map != nil:
		return attributes(v.Map.Values)
	}
	return nil, nil
}
