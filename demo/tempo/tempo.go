// Package tempo asks for traces over Grafana Tempo's HTTP API, of a real Tempo
// as well as of package collector, and makes trees of them.
package tempo

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-logfmt/logfmt"
)

// ErrNotFound is what Trace returns, wrapped, for an id that the back end does
// not know, or not yet.
var ErrNotFound = errors.New("trace not found")

// maxAnswerBytes bounds how much of an answer is read. Tempo itself refuses
// traces far smaller than that.
const maxAnswerBytes = 256 << 20

// Client asks one back end. It is safe for concurrent use.
type Client struct {
	// URL is where the back end's API is, such as http://127.0.0.1:3200.
	URL string
	// HTTP makes the requests; nil means http.DefaultClient. Deadlines come
	// from the contexts.
	HTTP *http.Client
}

// Query says which traces Search looks for. The zero value finds the latest.
type Query struct {
	// Tags are attributes that a trace must have, such as service.name. What
	// their values match is Tempo's tag search: a part of service.name and of
	// name, the whole of most others, and strings only.
	Tags map[string]string
	// TraceQL is a query such as {}, in place of Tags.
	TraceQL string
	// MinDuration and MaxDuration bound the length of the whole trace, in
	// whole milliseconds; 0 means any. Tempo ignores both with TraceQL.
	MinDuration, MaxDuration time.Duration
	// Limit is the most traces to answer; 0 leaves it to the back end, which
	// stops at 20.
	Limit int
	// Start and End bound the time, by seconds; give both or neither.
	Start, End time.Time
}

// Summary is one trace that Search found.
type Summary struct {
	TraceID string // 32 lower-case hexadecimal digits
	// RootService and RootName are the first span's; empty while it has not
	// been received.
	RootService, RootName string
	Start                 time.Time
	Duration              time.Duration // to the millisecond below
}

// Ready returns nil when the back end is up and ready, and otherwise why not.
func (c *Client) Ready(ctx context.Context) error {
	_, err := c.get(ctx, "/ready", nil)
	return err
}

// Trace returns the trace with the id, up to 32 hexadecimal digits; missing
// ones are leading zeros. The trace may still be incomplete: its spans arrive
// as the services send them. For an unknown id the error is ErrNotFound.
func (c *Client) Trace(ctx context.Context, id string) (*Trace, error) {
	full, err := fullID(id)
	if err != nil {
		return nil, err
	}
	path := "/api/v2/traces/" + full
	body, err := c.get(ctx, path, nil)
	var notOK *statusError
	if errors.As(err, &notOK) && notOK.code == http.StatusNotFound {
		return nil, fmt.Errorf("%w: %s does not know %s", ErrNotFound, c.URL, full)
	}
	if err != nil {
		return nil, err
	}
	var answer struct {
		Trace *traceJSON `json:"trace"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("GET %s: the answer is not Tempo's JSON: %w", c.URL+path, err)
	}
	if answer.Trace == nil || len(answer.Trace.ResourceSpans) == 0 {
		return nil, fmt.Errorf("%w: %s does not know %s", ErrNotFound, c.URL, full)
	}
	spans, err := answer.Trace.spans()
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", c.URL+path, err)
	}
	return newTrace(full, spans), nil
}

// Search returns the traces that match, the latest first.
func (c *Client) Search(ctx context.Context, q Query) ([]Summary, error) {
	params, err := q.params()
	if err != nil {
		return nil, err
	}
	body, err := c.get(ctx, "/api/search", params)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Traces []struct {
			TraceID           string      `json:"traceID"`
			RootServiceName   string      `json:"rootServiceName"`
			RootTraceName     string      `json:"rootTraceName"`
			StartTimeUnixNano json.Number `json:"startTimeUnixNano"`
			DurationMs        int64       `json:"durationMs"`
		} `json:"traces"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("GET %s/api/search: the answer is not Tempo's JSON: %w", c.URL, err)
	}
	found := make([]Summary, 0, len(answer.Traces))
	for _, t := range answer.Traces {
		id, err := fullID(t.TraceID)
		if err != nil {
			return nil, fmt.Errorf("GET %s/api/search: %w", c.URL, err)
		}
		start, err := unixNano(t.StartTimeUnixNano)
		if err != nil {
			return nil, fmt.Errorf("GET %s/api/search: trace %s: %w", c.URL, id, err)
		}
		s := Summary{
			TraceID:     id,
			RootService: t.RootServiceName,
			RootName:    t.RootTraceName,
			Start:       start,
			Duration:    time.Duration(t.DurationMs) * time.Millisecond,
		}
		if s.RootService == "<root span not yet received>" { // Tempo's words for none
			s.RootService = ""
		}
		found = append(found, s)
	}
	return found, nil
}

func (q Query) params() (url.Values, error) {
	v := url.Values{}
	if q.TraceQL != "" && len(q.Tags) > 0 {
		return nil, errors.New("a query has either tags or TraceQL, not both")
	}
	if q.TraceQL != "" {
		v.Set("q", q.TraceQL)
	}
	if len(q.Tags) > 0 {
		tags, err := encodeTags(q.Tags)
		if err != nil {
			return nil, err
		}
		v.Set("tags", tags)
	}
	if q.MinDuration > 0 {
		v.Set("minDuration", q.MinDuration.String())
	}
	if q.MaxDuration > 0 {
		v.Set("maxDuration", q.MaxDuration.String())
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	if q.Start.IsZero() != q.End.IsZero() {
		return nil, errors.New("a query has both a start and an end, or neither")
	}
	if !q.Start.IsZero() {
		end := q.End.Unix()
		if q.End.Nanosecond() > 0 {
			end++
		}
		v.Set("start", strconv.FormatInt(q.Start.Unix(), 10))
		v.Set("end", strconv.FormatInt(end, 10))
	}
	return v, nil
}

// encodeTags writes logfmt, in a fixed order.
func encodeTags(tags map[string]string) (string, error) {
	var b strings.Builder
	e := logfmt.NewEncoder(&b)
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		// The encoder would drop what a key cannot hold, and ask for another.
		if key == "" || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r == '=' || r == '"' || r == 0x7f || r == 0xfffd }) {
			return "", fmt.Errorf("tag %q: a tag's name has no spaces, quotes or equals signs", key)
		}
		if err := e.EncodeKeyval(key, tags[key]); err != nil {
			return "", fmt.Errorf("tag %q: %w", key, err)
		}
	}
	return b.String(), nil
}

// statusError is an answer that is not 200.
type statusError struct {
	url, status, line string
	code              int
}

func (e *statusError) Error() string {
	if e.line == "" {
		return fmt.Sprintf("GET %s: %s", e.url, e.status)
	}
	return fmt.Sprintf("GET %s: %s: %s", e.url, e.status, e.line)
}

// get returns the body of a 200.
func (c *Client) get(ctx context.Context, path string, params url.Values) ([]byte, error) {
	u := strings.TrimSuffix(c.URL, "/") + path
	if len(params) > 0 {
		u += "?" + params.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return nil, fmt.Errorf("the trace back end's URL %q is wrong, it should be like http://127.0.0.1:3200: %w", c.URL, err)
	}
	req.Header.Set("Accept", "application/json")
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	res, err := client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("no answer from the trace back end in time: %w", err)
		}
		return nil, fmt.Errorf("no trace back end answers at %s, start it (go run ./demo, or docker compose up) or correct the address: %w", c.URL, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, &statusError{url: u, status: res.Status, code: res.StatusCode, line: firstLine(res.Body)}
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswerBytes+1))
	if err != nil {
		return nil, fmt.Errorf("GET %s: the answer broke off: %w", u, err)
	}
	if len(body) > maxAnswerBytes {
		return nil, fmt.Errorf("GET %s: the answer is larger than %d bytes", u, maxAnswerBytes)
	}
	return bytes.TrimSpace(body), nil
}

// firstLine is what an error shows of a body; the rest may be a whole page.
func firstLine(r io.Reader) string {
	s := bufio.NewScanner(io.LimitReader(r, 1024))
	for s.Scan() {
		if line := strings.TrimSpace(s.Text()); line != "" {
			return line
		}
	}
	return ""
}

// fullID returns an id of up to 32 hexadecimal digits with all 32 of them.
func fullID(id string) (string, error) {
	bad := strings.ContainsFunc(id, func(r rune) bool { return !strings.ContainsRune("0123456789abcdefABCDEF", r) })
	if id == "" || len(id) > 32 || bad {
		return "", fmt.Errorf("%q is no trace id, which has up to 32 hexadecimal digits", id)
	}
	return strings.Repeat("0", 32-len(id)) + strings.ToLower(id), nil
}
