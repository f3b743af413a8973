package collector

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-logfmt/logfmt"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
)

const defaultLimit = 20 // Tempo's

// query is a search as its parameters ask for it.
type query struct {
	traceQL     func(span) bool // of q, which is answered with counts by service; nil without
	limit       uint64
	minDuration time.Duration // of the whole trace
	start, end  uint64        // Unix seconds; 0: any
	tags        []func(span) bool
}

// parseSearch reads a query. Its errors are Tempo's, but for what only Tempo can answer.
func parseSearch(v url.Values) (*query, error) {
	for _, name := range []string{"maxDuration", "spss"} {
		if v.Get(name) != "" {
			return nil, fmt.Errorf("this collector has no %s: %s", name, supported)
		}
	}
	var err error // the first
	number := func(name string, missing uint64) uint64 {
		s := v.Get(name)
		if s == "" || err != nil {
			return missing
		}
		var n uint64
		if n, err = strconv.ParseUint(s, 10, 32); err != nil {
			err = fmt.Errorf("invalid %s: %w", name, err)
		}
		return n
	}
	q := &query{start: number("start", 0), end: number("end", 0), limit: number("limit", defaultLimit)}
	if err != nil {
		return nil, err
	}
	traceQL, tags := v.Get("q"), v.Get("tags")
	if traceQL != "" && tags != "" {
		return nil, errors.New("invalid request: can't specify tags and q in the same query")
	}
	if err := q.parseTags(tags); err != nil {
		return nil, err
	}
	if traceQL != "" {
		if q.traceQL, err = parseTraceQL(traceQL); err != nil {
			return nil, err
		}
	}
	if s := v.Get("minDuration"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil {
			return nil, fmt.Errorf("invalid minDuration: %w", err)
		}
		q.minDuration = time.Duration(uint32(d.Milliseconds())) * time.Millisecond // wraps in Tempo too
	}
	switch {
	case q.limit == 0:
		return nil, errors.New("invalid limit: must be a positive number")
	case (q.start != 0 || q.end != 0) && q.end <= q.start:
		return nil, fmt.Errorf("http parameter start must be before end. received start=%d end=%d", q.start, q.end)
	case v.Get("start") == "" && v.Get("end") != "":
		return nil, errors.New("error parsing date range: only one of start and end provided: must provide both or neither")
	}
	return q, nil
}

const supported = "search with q, tags, minDuration, start, end and limit, or ask a real Tempo"

// parseTags reads logfmt: key=value pairs, values with spaces in quotes. With Tempo, several
// attributes that are no columns have to belong to one resource; the demo never asks for that.
func (q *query) parseTags(tags string) error {
	attribute := ""
	d := logfmt.NewDecoder(strings.NewReader(tags))
	for d.ScanRecord() {
		for d.ScanKeyval() {
			key, value := string(d.Key()), string(d.Value())
			test, ok := columns[key]
			if !ok && attribute != "" {
				return fmt.Errorf("invalid tags: %s and %s: this collector compares one attribute besides name, service.name, "+
					"server.address and status.code; ask a real Tempo", attribute, key)
			}
			if !ok {
				attribute = key
				test = func(s span, value string) bool {
					return slices.Contains(valuesOf(s.Attributes, key), any(value)) ||
						slices.Contains(valuesOf(s.origin.resource.Resource.Attributes, key), any(value))
				}
			}
			q.tags = append(q.tags, func(s span) bool { return test(s, value) })
		}
	}
	var syntax *logfmt.SyntaxError
	if errors.As(d.Err(), &syntax) {
		return fmt.Errorf("invalid tags: %s at pos %d", syntax.Msg, syntax.Pos)
	}
	if d.Err() != nil {
		return fmt.Errorf("invalid tags: %w", d.Err())
	}
	return nil
}

// searchAnswer is what /api/search answers: of Tempo's tempopb.SearchResponse what the demo reads.
type searchAnswer struct {
	Traces []summary `json:"traces"` // also when there are none
}

// summary describes one found trace.
type summary struct {
	TraceID           string `json:"traceID"` // hexadecimal without leading zeros
	RootServiceName   string `json:"rootServiceName"`
	RootTraceName     string `json:"rootTraceName,omitempty"`
	StartTimeUnixNano uint64 `json:"startTimeUnixNano,string,omitempty"`
	DurationMs        uint32 `json:"durationMs,omitempty"`

	ServiceStats map[string]serviceStats `json:"serviceStats,omitempty"` // with TraceQL only
}

type serviceStats struct {
	SpanCount  int `json:"spanCount"`
	ErrorCount int `json:"errorCount,omitempty"`
}

// run searches traces, the latest to arrive first. Like Tempo it answers them by start.
func (q *query) run(traces []trace) *searchAnswer {
	answer := &searchAnswer{Traces: []summary{}}
	for i := range traces {
		t := &traces[i]
		if !q.matches(t) {
			continue
		}
		answer.Traces = append(answer.Traces, q.summarize(t))
		if len(answer.Traces) == int(q.limit) {
			break
		}
	}
	slices.SortStableFunc(answer.Traces, func(a, b summary) int {
		return cmp.Compare(b.StartTimeUnixNano, a.StartTimeUnixNano)
	})
	return answer
}

func (q *query) summarize(t *trace) summary {
	s := summary{
		TraceID:           strings.TrimLeft(hex.EncodeToString(t.id[:]), "0"),
		RootServiceName:   "<root span not yet received>",
		StartTimeUnixNano: t.start,
		DurationMs:        uint32((t.end - t.start) / 1_000_000), // Tempo's arithmetic, also for an end before the start
	}
	if t.root != nil {
		s.RootTraceName = t.root.Name
		s.RootServiceName = cmp.Or(t.root.origin.service, s.RootServiceName)
	}
	if q.traceQL == nil {
		return s
	}
	s.ServiceStats = map[string]serviceStats{}
	for _, sp := range t.spans {
		stats := s.ServiceStats[sp.origin.service]
		stats.SpanCount++
		if sp.Status.GetCode() == tracepb.Status_STATUS_CODE_ERROR {
			stats.ErrorCount++
		}
		s.ServiceStats[sp.origin.service] = stats
	}
	return s
}

// matches reports whether a trace is one that is looked for. Tags mean what they mean to Tempo:
// each must hold somewhere in the trace, not all on one span.
func (q *query) matches(t *trace) bool {
	if q.start != 0 && q.end != 0 && (t.start > q.end*1e9 || t.end < q.start*1e9) {
		return false
	}
	if q.traceQL != nil { // which says by itself how long its traces are, to Tempo too
		return slices.ContainsFunc(t.spans, q.traceQL)
	}
	if q.minDuration > 0 && time.Duration(t.end-t.start) < q.minDuration {
		return false
	}
	for _, test := range q.tags {
		if !slices.ContainsFunc(t.spans, test) {
			return false
		}
	}
	return true
}

// columns are the tags that Tempo stores apart and does not compare as a whole. It has more of
// them; these are the ones that the demo searches by.
var columns = map[string]func(s span, value string) bool{
	"service.name": func(s span, value string) bool { return strings.Contains(s.origin.service, value) },
	"name":         func(s span, value string) bool { return strings.Contains(s.Name, value) },
	"server.address": func(s span, value string) bool {
		return strings.Contains(stringOf(s.Attributes, "server.address"), value)
	},
	"status.code": func(s span, value string) bool { return s.Status.GetCode() == statusCodes[value] },
}

// statusCodes has no "unset": anything else means that, to Tempo too.
var statusCodes = map[string]tracepb.Status_StatusCode{
	"ok":    tracepb.Status_STATUS_CODE_OK,
	"error": tracepb.Status_STATUS_CODE_ERROR,
}

// stringOf returns an attribute that is a string; "" where it is missing.
func stringOf(attributes []*commonpb.KeyValue, key string) string {
	for _, kv := range attributes {
		if kv.Key == key {
			return kv.Value.GetStringValue()
		}
	}
	return ""
}
