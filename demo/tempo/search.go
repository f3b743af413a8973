package tempo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/traceid"
)

// Summary is what a search tells of one trace.
type Summary struct {
	ID string // 32 lower-case hexadecimal digits
	// HasRoot reports whether the trace's first span has arrived. Service and Name are that span's, and
	// are empty where it has none.
	HasRoot  bool
	Service  string
	Name     string
	Start    time.Time
	Duration time.Duration // whole milliseconds, as Tempo has them: what is less is cut off
	// Services counts the spans of each service, which is "" for spans that name none. Nil when the
	// store does not say: it counts in answers to TraceQL alone.
	Services map[string]Stats
	// Selected are the texts that a query selects of the spans that it finds, by their attributes' names;
	// where spans differ, the first one's.
	Selected map[string]string
}

// Stats counts the spans of one service in a trace.
type Stats struct{ Spans, Errors int }

// Summaries returns the traces that match, the latest first. The parameters are Tempo's: q is
// TraceQL, and start and end are seconds since 1970. Without a limit, it finds 20.
func (c *Client) Summaries(ctx context.Context, params url.Values) ([]Summary, error) {
	body, _, err := c.get(ctx, "/api/search", params, contentJSON)
	if err != nil {
		return nil, err
	}
	found, err := decodeSummaries(body)
	if err != nil {
		return nil, fmt.Errorf("GET %s/api/search: %w: %w", c.shown(), ErrNotTempo, err)
	}
	return found, nil
}

// decodeSummaries reads a tempopb.SearchResponse in protobuf's JSON, which has 64 bits as text:
// https://github.com/grafana/tempo/blob/main/pkg/tempopb/tempo.proto
func decodeSummaries(body []byte) ([]Summary, error) {
	answer, err := parse(body)
	if err != nil {
		return nil, err
	}
	if !answer.Get("traces").IsArray() && !answer.Get("metrics").Exists() {
		return nil, errors.New("it has no traces")
	}
	found := []Summary{}
	for _, t := range answer.Get("traces").Array() {
		id, err := traceid.Trace(t.Get("traceID").String())
		if err != nil {
			return nil, err
		}
		s := Summary{ID: id, Service: t.Get("rootServiceName").String(), Name: t.Get("rootTraceName").String(),
			Start: time.Unix(0, t.Get("startTimeUnixNano").Int()), Duration: time.Duration(t.Get("durationMs").Int()) * time.Millisecond}
		if strings.HasPrefix(s.Service, "<root span not yet") { // Tempo also writes it for a root that names no service
			s.Service = ""
		}
		s.HasRoot = s.Service != "" || s.Name != ""
		if stats := t.Get("serviceStats"); stats.IsObject() {
			s.Services = map[string]Stats{}
			for service, n := range stats.Map() {
				s.Services[service] = Stats{int(n.Get("spanCount").Int()), int(n.Get("errorCount").Int())}
			}
		}
		for _, a := range t.Get("spanSets.#.spans.#.attributes|@flatten:{\"deep\":true}").Array() {
			if s.Selected == nil {
				s.Selected = map[string]string{}
			}
			key := a.Get("key").String()
			s.Selected[key] = cmp.Or(s.Selected[key], a.Get("value.stringValue").String())
		}
		found = append(found, s)
	}
	return found, nil
}
