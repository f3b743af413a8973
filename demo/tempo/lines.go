package tempo

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MaxLines is how many log lines of a trace are read.
const MaxLines = 1000

// Line is a log line that belongs to a trace.
type Line struct {
	Time    time.Time
	Service string
	SpanID  string // 16 lower-case hexadecimal digits; empty for none
	// Severity is one of OTLP's words: trace, debug, info, warn, error or fatal; or what the program calls it, in lower case.
	Severity   string
	Text       string
	Attributes map[string]any // of the line, and what the store adds
}

// Lines returns the earliest log lines of a trace, at most MaxLines, that are from from to to. The URL is
// Loki's: https://grafana.com/docs/loki/latest/reference/loki-http-api/#query-logs-within-a-range-of-time
func (c *Client) Lines(ctx context.Context, id string, from, to time.Time) (lines []Line, err error) {
	const path = "/loki/api/v1/query_range"
	body, _, err := c.get(ctx, path, url.Values{
		"query": {fmt.Sprintf(`{service_name=~".+"} | trace_id="%s"`, id)}, "limit": {strconv.Itoa(MaxLines)},
		"direction": {"forward"}, "start": {strconv.FormatInt(from.UnixNano(), 10)}, "end": {strconv.FormatInt(to.UnixNano(), 10)},
	}, contentJSON)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data struct {
			ResultType string
			Result     []struct {
				Stream map[string]string
				Values [][2]string // time and text
			}
		}
	}
	if err = json.Unmarshal(body, &answer); err == nil && answer.Data.ResultType != "streams" {
		err = fmt.Errorf("resultType %q", answer.Data.ResultType)
	}
	for _, stream := range answer.Data.Result {
		line := newLine(stream.Stream)
		for _, v := range stream.Values {
			ns, notNumber := strconv.ParseInt(v[0], 10, 64)
			err = cmp.Or(err, notNumber)
			line.Time, line.Text = time.Unix(0, ns), v[1]
			lines = append(lines, line)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("GET %s%s: %w: %w", c.shown(), path, ErrNotTempo, err)
	}
	slices.SortStableFunc(lines, func(a, b Line) int { return a.Time.Compare(b.Time) })
	return lines, nil
}

// told are the labels that become something else of a Line, or mean nothing to its reader.
var told = []string{"service_name", "trace_id", "span_id", "severity_text", "severity_number", "detected_level", "observed_timestamp", "flags"}

// newLine reads what Loki makes of OTLP: labels, with structured metadata among them. With its setting
// discover_log_levels there is a level that it guesses.
func newLine(labels map[string]string) Line {
	line := Line{
		Service: labels["service_name"], SpanID: labels["span_id"], Attributes: map[string]any{},
		Severity: strings.ToLower(cmp.Or(labels["severity_text"], labels["detected_level"])),
	}
	if n, err := strconv.Atoi(labels["severity_number"]); err == nil && n >= 1 && n <= 24 { // four for each word
		line.Severity = [...]string{"trace", "debug", "info", "warn", "error", "fatal"}[(n-1)/4]
	}
	for name, value := range labels {
		if !slices.Contains(told, name) {
			line.Attributes[name] = value
		}
	}
	return line
}
