package tempo

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
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

// Search returns the ids of the traces that match, as Summaries does.
func (c *Client) Search(ctx context.Context, params url.Values) ([]string, error) {
	found, err := c.Summaries(ctx, params)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(found))
	for i, s := range found {
		ids[i] = s.ID
	}
	return ids, nil
}

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

// decodeSummaries reads a tempopb.SearchResponse in protobuf's JSON:
// https://github.com/grafana/tempo/blob/main/pkg/tempopb/tempo.proto
func decodeSummaries(body []byte) ([]Summary, error) {
	var answer struct {
		Traces []*struct {
			TraceID           string
			RootServiceName   string
			RootTraceName     string
			StartTimeUnixNano json.Number // a string, as protobuf's JSON has 64 bits
			DurationMs        uint32
			ServiceStats      map[string]struct{ SpanCount, ErrorCount int }
			SpanSets          []struct {
				Spans []struct {
					Attributes []struct {
						Key   string
						Value struct{ StringValue string }
					}
				}
			}
		}
		Metrics json.RawMessage
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, err
	}
	if answer.Traces == nil && answer.Metrics == nil {
		return nil, errors.New("it has no traces")
	}
	found := make([]Summary, len(answer.Traces))
	for i, t := range answer.Traces {
		if t == nil {
			return nil, errors.New("a trace is null")
		}
		id, err := traceid.Trace(t.TraceID)
		if err != nil {
			return nil, err
		}
		start, err := strconv.ParseUint(string(t.StartTimeUnixNano), 10, 64)
		if err != nil && t.StartTimeUnixNano != "" { // a trace of 1970 has none
			return nil, fmt.Errorf("startTimeUnixNano: %w", err)
		}
		s := Summary{ID: id, Service: t.RootServiceName, Name: t.RootTraceName, Start: unixNano(start),
			Duration: time.Duration(t.DurationMs) * time.Millisecond}
		if strings.HasPrefix(s.Service, "<root span not yet") { // Tempo also writes it for a root that names no service
			s.Service = ""
		}
		s.HasRoot = s.Service != "" || s.Name != ""
		for service, n := range t.ServiceStats {
			if s.Services == nil {
				s.Services = map[string]Stats{}
			}
			s.Services[service] = Stats{n.SpanCount, n.ErrorCount}
		}
		for _, set := range t.SpanSets {
			for _, span := range set.Spans {
				for _, a := range span.Attributes {
					if s.Selected == nil {
						s.Selected = map[string]string{}
					}
					s.Selected[a.Key] = cmp.Or(s.Selected[a.Key], a.Value.StringValue)
				}
			}
		}
		found[i] = s
	}
	return found, nil
}
