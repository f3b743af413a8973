package collector

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"example.com/grafana-tempo-go-demo/demo/traceid"
)

const defaultLimit = 20 // of a search, Tempo's

// serveTrace answers /api/v2/traces/{traceID}: the trace within an object, which is empty for an
// unknown one. As Tempo does, it sends protobuf to those who accept that, and otherwise protobuf's JSON:
// ids in base64, 64-bit integers as strings, enums by name, zero values left out.
func (c *Collector) serveTrace(w http.ResponseWriter, r *http.Request) {
	digits, err := traceid.Trace(r.PathValue("traceID"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var id traceID
	_, _ = hex.Decode(id[:], []byte(digits)) // which was checked
	data := &tracepb.TracesData{}
	if t := c.store.get(id); t != nil {
		data = t.data()
	}
	const contentTempo = "application/protobuf" // not OTLP's
	mediaType, answer := contentJSON, []byte(nil)
	if r.Header.Get("Accept") == contentTempo { // the trace is field 1 of the answer
		mediaType = contentTempo
		encoded, _ := proto.Marshal(data) // it was decoded, so it can be encoded
		answer = protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), encoded)
	} else {
		encoded, _ := protojson.Marshal(data)
		answer = fmt.Appendf(nil, `{"trace":%s}`, encoded)
	}
	w.Header().Set("Content-Type", mediaType)
	_, _ = w.Write(answer) // the client may be gone
}

// serveSearch answers /api/search.
func (c *Collector) serveSearch(w http.ResponseWriter, r *http.Request) {
	answer, err := search(r.URL.Query(), c.store.recent())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", contentJSON)
	_ = json.NewEncoder(w).Encode(answer) // the client may be gone
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

	ServiceStats map[string]serviceStats `json:"serviceStats"`
	SpanSets     []spanSet               `json:"spanSets,omitempty"` // if the query selects attributes
}

// spanSet has the first of the spans that a query found, as many as Tempo tells unless it is asked for more.
type spanSet struct {
	Spans []selected `json:"spans"`
}

// selected are the attributes of a span that a query selects.
type selected struct {
	Attributes []json.RawMessage `json:"attributes"`
}

type serviceStats struct {
	SpanCount  int `json:"spanCount"`
	ErrorCount int `json:"errorCount,omitempty"`
}

// search looks through traces, the latest to arrive first. Like Tempo it answers them by start. Its errors
// are Tempo's, but for what only Tempo can answer.
func search(v url.Values, traces []trace) (*searchAnswer, error) {
	for _, name := range []string{"tags", "minDuration", "maxDuration", "spss"} {
		if v.Get(name) != "" {
			return nil, fmt.Errorf("this collector has no %s: search with q, start, end and limit, or ask a real Tempo", name)
		}
	}
	var limit, start, end uint64 // the last two in Unix seconds, 0 for any
	if err := parseNumbers(v, 32, map[string]*uint64{"limit": &limit, "start": &start, "end": &end}); err != nil {
		return nil, err
	}
	switch {
	case limit == 0 && v.Get("limit") != "":
		return nil, errors.New("invalid limit: must be a positive number")
	case (start != 0 || end != 0) && end <= start:
		return nil, fmt.Errorf("http parameter start must be before end. received start=%d end=%d", start, end)
	case v.Get("start") == "" && v.Get("end") != "":
		return nil, errors.New("error parsing date range: only one of start and end provided: must provide both or neither")
	}
	query, err := parseTraceQL(cmp.Or(v.Get("q"), "{}"))
	if err != nil {
		return nil, err
	}
	answer := &searchAnswer{Traces: []summary{}}
	for _, t := range traces {
		within := end == 0 || t.start <= end*1e9 && t.end >= start*1e9
		if !within || len(answer.Traces) >= int(cmp.Or(limit, defaultLimit)) {
			continue
		}
		if found := query.finds(&t); len(found) > 0 {
			answer.Traces = append(answer.Traces, summarize(&t))
			answer.Traces[len(answer.Traces)-1].SpanSets = query.selects(found)
		}
	}
	slices.SortStableFunc(answer.Traces, func(a, b summary) int {
		return cmp.Compare(b.StartTimeUnixNano, a.StartTimeUnixNano)
	})
	return answer, nil
}

func parseNumbers(v url.Values, bits int, numbers map[string]*uint64) (err error) {
	for name, number := range numbers {
		if *number, err = strconv.ParseUint(cmp.Or(v.Get(name), "0"), 10, bits); err != nil {
			return fmt.Errorf("invalid %s: %w", name, err)
		}
	}
	return nil
}

func (q *query) selects(found []span) []spanSet {
	if len(q.selected) == 0 {
		return nil
	}
	set := spanSet{}
	for _, s := range found[:min(len(found), 3)] {
		told := selected{Attributes: []json.RawMessage{}}
		for _, name := range q.selected {
			for _, kv := range s.attributes(name[0]) {
				if kv.Key == name[1] {
					encoded, _ := protojson.Marshal(kv) // it was decoded, so it can be encoded
					told.Attributes = append(told.Attributes, encoded)
				}
			}
		}
		set.Spans = append(set.Spans, told)
	}
	return []spanSet{set}
}

func summarize(t *trace) summary {
	s := summary{
		TraceID:           strings.TrimLeft(hex.EncodeToString(t.id[:]), "0"),
		RootServiceName:   "<root span not yet received>",
		StartTimeUnixNano: t.start,
		DurationMs:        uint32((t.end - t.start) / 1_000_000), // Tempo's arithmetic, also for an end before the start
		ServiceStats:      map[string]serviceStats{},
	}
	if t.root != nil {
		s.RootTraceName = t.root.Name
		s.RootServiceName = cmp.Or(t.root.origin.service, s.RootServiceName)
	}
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
