package doctor

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"example.com/grafana-tempo-go-demo/demo/term"
)

// lines asks Loki for the log lines of the last so many minutes, and returns the labels of each,
// structured metadata among them.
func (v *visit) lines(ctx context.Context, query string, last time.Duration, limit int) ([]map[string]string, error) {
	type streams struct {
		Result []struct {
			Stream map[string]string
			Values [][]any
		}
	}
	now := time.Now()
	answer, err := data[streams](ctx, v, loki, "/loki/api/v1/query_range", url.Values{
		"query": {query}, "limit": {strconv.Itoa(limit)},
		"start": {strconv.FormatInt(now.Add(-last).UnixNano(), 10)},
		"end":   {strconv.FormatInt(now.Add(time.Minute).UnixNano(), 10)}})
	var labels []map[string]string
	for _, stream := range answer.Result {
		for range stream.Values {
			labels = append(labels, stream.Stream)
		}
	}
	return labels, err
}

const ofService = `{service_name="uservice3"}`

// logLine looks for the request's lines in Loki.
func (v *visit) logLine(ctx context.Context) outcome {
	lines, err := v.lines(ctx, fmt.Sprintf(`%s | trace_id=%q`, ofService, v.id), 10*time.Minute, 100)
	switch {
	case answered(err, http.StatusServiceUnavailable, http.StatusInternalServerError):
		return failed(err).yet() // it is starting
	case err != nil:
		return failed(err)
	case len(lines) > 0:
		return fine("%s of uservice3 in Loki", term.Count(len(lines), "line"))
	}
	return missing("Loki has no line of uservice3 at all", v.noLine)
}

// noLine finds out whether other lines come.
func (v *visit) noLine(ctx context.Context, detail string) outcome {
	has := func(query string, last time.Duration) bool {
		lines, err := v.lines(ctx, query, last, 1)
		return err == nil && len(lines) > 0
	}
	switch {
	case has(fmt.Sprintf(`%s |= %q`, ofService, v.id), 10*time.Minute):
		return broken("a line has the id in its text, and not as structured metadata", "no structured metadata")
	case has(ofService, time.Since(v.sent)+time.Second):
		return broken("lines of uservice3 come in, none with this trace's id", "outside of the context", "log level", "lines delayed")
	case has(ofService, 10*time.Minute):
		return broken("lines of uservice3 came to Loki before, and none since the request", "no lines sent any more", "log level")
	}
	return broken(detail, "no lines sent", "log level")
}
