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

// Tempo's defaults and limits.
const (
	defaultLimit        = 20
	maxLimit            = 262144
	defaultSpansPerSet  = 3
	maxSpansPerSet      = 100
	maxSearchRange      = 168 * time.Hour
	rootNotYetReceived  = "<root span not yet received>"
	supportedQueryText  = "{}"
	supportedParamsText = "tags, minDuration, maxDuration, start, end and limit"
)

// query is a search as its parameters ask for it.
type query struct {
	traceQL bool // q={}, which is answered with span sets
	limit   int
	spss    int // spans per span set

	tags             map[string]string
	minDur, maxDur   time.Duration // of the whole trace; 0: any
	startSec, endSec uint64        // Unix seconds; 0: any
}

// parseSearch reads the parameters of /api/search. Its errors are Tempo's,
// but for queries that only Tempo can answer.
func parseSearch(v url.Values) (*query, error) {
	q := &query{tags: map[string]string{}}
	var err error
	if q.startSec, err = parseUint(v, "start", 0); err != nil {
		return nil, err
	}
	if q.endSec, err = parseUint(v, "end", 0); err != nil {
		return nil, err
	}

	traceQL, tags := v.Get("q"), v.Get("tags")
	q.traceQL = traceQL != ""
	if q.traceQL && tags != "" {
		return nil, errors.New("invalid request: can't specify tags and q in the same query")
	}
	if err := q.parseTags(tags); err != nil {
		return nil, err
	}
	if q.minDur, err = parseMillis(v, "minDuration"); err != nil {
		return nil, err
	}
	if q.maxDur, err = parseMillis(v, "maxDuration"); err != nil {
		return nil, err
	}
	if v.Get("maxDuration") != "" && q.minDur != 0 && q.minDur > q.maxDur {
		return nil, errors.New("invalid maxDuration: must be greater than minDuration")
	}
	limit, err := parseUint(v, "limit", defaultLimit)
	if err != nil {
		return nil, err
	}
	if limit == 0 {
		return nil, errors.New("invalid limit: must be a positive number")
	}
	spss, err := parseUint(v, "spss", defaultSpansPerSet)
	if err != nil {
		return nil, err
	}
	if (q.startSec != 0 || q.endSec != 0) && q.endSec <= q.startSec {
		return nil, fmt.Errorf("http parameter start must be before end. received start=%d end=%d", q.startSec, q.endSec)
	}
	if limit > maxLimit {
		return nil, fmt.Errorf("limit %d exceeds max limit %d", limit, maxLimit)
	}
	if q.traceQL && strings.Join(strings.Fields(traceQL), "") != supportedQueryText {
		return nil, fmt.Errorf("invalid TraceQL query: this collector answers %s alone, all traces; search with %s, or ask a real Tempo", supportedQueryText, supportedParamsText)
	}
	if v.Get("start") == "" && v.Get("end") != "" {
		return nil, errors.New("error parsing date range: only one of start and end provided: must provide both or neither")
	}
	if d := time.Duration(q.endSec-q.startSec) * time.Second; d > maxSearchRange {
		return nil, fmt.Errorf("range specified by start and end exceeds %s. received start=%d end=%d", maxSearchRange, q.startSec, q.endSec)
	}
	if spss > maxSpansPerSet {
		return nil, fmt.Errorf("spans per span set exceeds %d. received %d", maxSpansPerSet, spss)
	}
	if spss == 0 {
		spss = defaultSpansPerSet
	}
	q.limit, q.spss = int(limit), int(spss)
	return q, nil
}

func parseUint(v url.Values, name string, missing uint64) (uint64, error) {
	s := v.Get(name)
	if s == "" {
		return missing, nil
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("invalid %s: %w", name, err)
	}
	return n, nil
}

// parseMillis reads a duration as Tempo does, to the millisecond below.
func parseMillis(v url.Values, name string) (time.Duration, error) {
	s := v.Get(name)
	if s == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("invalid %s: %w", name, err)
	}
	return time.Duration(uint32(d.Milliseconds())) * time.Millisecond, nil // wraps in Tempo too
}

// parseTags reads logfmt: key=value pairs, values with spaces in quotes.
func (q *query) parseTags(tags string) error {
	d := logfmt.NewDecoder(strings.NewReader(tags))
	for d.ScanRecord() {
		for d.ScanKeyval() {
			key := string(d.Key())
			if _, ok := q.tags[key]; ok {
				return fmt.Errorf("invalid tags: tag %s has been set twice", key)
			}
			q.tags[key] = string(d.Value())
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

// searchResult is what a search answers, ready to encode.
type searchResult struct {
	traces          []summary
	traceQL         bool
	inspectedTraces int
	inspectedBytes  int64
}

// summary describes one found trace.
type summary struct {
	traceID               string // hexadecimal without leading zeros
	rootService, rootName string
	start                 uint64
	durationMillis        uint32
	set                   *spanSet       // with TraceQL only
	services              []serviceCount // with TraceQL only, by name
}

type spanSet struct {
	spans   []*tracepb.Span
	matched int
}

type serviceCount struct {
	name          string
	spans, errors int
}

// run searches traces, the latest first, until it has found as many as asked
// for. Like Tempo it answers them by start, the latest first.
func (q *query) run(traces []*trace) *searchResult {
	res := &searchResult{traceQL: q.traceQL}
	match := q.matcher()
	for _, t := range traces {
		res.inspectedTraces++
		res.inspectedBytes += t.bytes
		if !match(t) {
			continue
		}
		res.traces = append(res.traces, q.summarize(t))
		if len(res.traces) == q.limit {
			break
		}
	}
	slices.SortStableFunc(res.traces, func(a, b summary) int { return cmp.Compare(b.start, a.start) })
	return res
}

func (q *query) summarize(t *trace) summary {
	s := summary{
		traceID: strings.TrimLeft(hex.EncodeToString(t.id[:]), "0"),
		start:   t.start,
		// Tempo's arithmetic, also for spans that end before they start.
		durationMillis: uint32((t.end - t.start) / 1_000_000),
	}
	if t.root != nil {
		s.rootService, s.rootName = t.root.scope.resource.service, t.root.Name
	}
	if s.rootService == "" {
		s.rootService = rootNotYetReceived
	}
	if !q.traceQL {
		return s
	}
	sorted := t.sorted()
	s.set = &spanSet{matched: len(sorted)}
	byService := map[string]int{}
	for i, sp := range sorted {
		if i < q.spss {
			s.set.spans = append(s.set.spans, sp.Span)
		}
		name := sp.scope.resource.service
		n, ok := byService[name]
		if !ok {
			n = len(s.services)
			byService[name] = n
			s.services = append(s.services, serviceCount{name: name})
		}
		s.services[n].spans++
		if sp.Status.GetCode() == tracepb.Status_STATUS_CODE_ERROR {
			s.services[n].errors++
		}
	}
	slices.SortFunc(s.services, func(a, b serviceCount) int { return cmp.Compare(a.name, b.name) })
	return s
}

// matcher returns the test that a trace must pass. Tags mean what they mean to
// Tempo: each must hold somewhere in the trace, not all on one span.
func (q *query) matcher() func(*trace) bool {
	var all []func(*trace) bool
	if q.startSec != 0 && q.endSec != 0 {
		start, end := q.startSec*1e9, q.endSec*1e9
		all = append(all, func(t *trace) bool { return t.start <= end && t.end >= start })
	}
	// Like Tempo, a TraceQL query says by itself how long its traces are.
	if !q.traceQL && (q.minDur != 0 || q.maxDur != 0) {
		all = append(all, func(t *trace) bool {
			d := time.Duration(t.end - t.start) // wraps in Tempo too
			return d >= q.minDur && (q.maxDur == 0 || d <= q.maxDur)
		})
	}
	var exact []tag
	for key, value := range q.tags {
		if test := tagTest(key, value); test != nil {
			all = append(all, test)
		} else {
			exact = append(exact, tag{key, value})
		}
	}
	if len(exact) > 0 {
		all = append(all, func(t *trace) bool { return t.hasAttributes(exact) })
	}
	return func(t *trace) bool {
		for _, test := range all {
			if !test(t) {
				return false
			}
		}
		return true
	}
}

// Attributes that Tempo stores in columns of their own, where it searches for
// a part of the value; of all others it wants the whole.
var (
	resourceColumns = []string{"cluster", "namespace", "pod", "container",
		"k8s.cluster.name", "k8s.namespace.name", "k8s.pod.name", "k8s.container.name"}
	spanColumns = []string{"http.method", "http.url", "http.route", "http.request.method",
		"url.path", "url.route", "server.address"}
)

// tagTest returns the test for a tag that Tempo treats apart, and nil for one
// that is an ordinary attribute.
func tagTest(key, value string) func(*trace) bool {
	anySpan := func(test func(span) bool) func(*trace) bool {
		return func(t *trace) bool { return slices.ContainsFunc(t.spans, test) }
	}
	part := func(kvs []*commonpb.KeyValue) bool {
		return slices.ContainsFunc(kvs, func(kv *commonpb.KeyValue) bool {
			s, ok := kv.GetValue().GetValue().(*commonpb.AnyValue_StringValue)
			return ok && kv.Key == key && strings.Contains(s.StringValue, value)
		})
	}
	switch key {
	case "service.name":
		return anySpan(func(s span) bool { return strings.Contains(s.scope.resource.service, value) })
	case "name":
		return anySpan(func(s span) bool { return strings.Contains(s.Name, value) })
	case "root.name":
		return func(t *trace) bool { return strings.Contains(t.rootName(), value) }
	case "root.service.name":
		return func(t *trace) bool { return strings.Contains(t.rootService(), value) }
	case "status.code":
		code := map[string]tracepb.Status_StatusCode{
			"ok":    tracepb.Status_STATUS_CODE_OK,
			"error": tracepb.Status_STATUS_CODE_ERROR,
		}[value] // anything else means unset, to Tempo too
		return anySpan(func(s span) bool { return s.Status.GetCode() == code })
	case "http.status_code":
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return nil
		}
		return anySpan(func(s span) bool {
			return slices.ContainsFunc(s.Attributes, func(kv *commonpb.KeyValue) bool {
				i, ok := kv.GetValue().GetValue().(*commonpb.AnyValue_IntValue)
				return ok && kv.Key == key && i.IntValue == n
			})
		})
	}
	if slices.Contains(resourceColumns, key) {
		return anySpan(func(s span) bool { return part(s.scope.resource.pb.Attributes) })
	}
	if slices.Contains(spanColumns, key) {
		return anySpan(func(s span) bool { return part(s.Attributes) })
	}
	return nil
}

func (t *trace) rootName() string {
	if t.root == nil {
		return ""
	}
	return t.root.Name
}

func (t *trace) rootService() string {
	if t.root == nil {
		return ""
	}
	return t.root.scope.resource.service
}

type tag struct{ key, value string }

// hasAttributes tells whether one resource of the trace has all of the
// attributes, on itself or on its spans.
func (t *trace) hasAttributes(want []tag) bool {
	found := map[*resource]map[tag]bool{}
	note := func(r *resource, kvs []*commonpb.KeyValue) {
		for _, kv := range kvs {
			// A few comparisons are faster than looking up every key.
			for _, w := range want {
				if kv.Key != w.key || !hasString(kv.Value, w.value) {
					continue
				}
				if found[r] == nil {
					found[r] = map[tag]bool{}
				}
				found[r][w] = true
			}
		}
	}
	var last *resource
	for _, s := range t.spans {
		if r := s.scope.resource; r != last {
			last = r
			note(r, r.pb.Attributes)
		}
		note(last, s.Attributes)
		if len(found) > 0 && len(found[last]) == len(want) {
			return true
		}
	}
	return false
}

// hasString tells whether v is the string want, or an array of strings with it.
func hasString(v *commonpb.AnyValue, want string) bool {
	switch v := v.GetValue().(type) {
	case *commonpb.AnyValue_StringValue:
		return v.StringValue == want
	case *commonpb.AnyValue_ArrayValue:
		found := false
		for _, e := range v.ArrayValue.GetValues() {
			s, ok := e.GetValue().(*commonpb.AnyValue_StringValue)
			if !ok {
				return false // Tempo does not index mixed arrays
			}
			found = found || s.StringValue == want
		}
		return found
	}
	return false
}
