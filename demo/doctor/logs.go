package doctor

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/tidwall/gjson"

	"example.com/grafana-tempo-go-demo/demo/term"
)

// lines asks Loki for lines since some time before the request, and returns the labels of each.
func (v *visit) lines(ctx context.Context, query string, before time.Duration) (labels []gjson.Result, err error) {
	answer, err := v.askJSON(ctx, loki, "/loki/api/v1/query_range", url.Values{
		"query": {query}, "limit": {"100"},
		"start": {strconv.FormatInt(v.sent.Add(-before).UnixNano(), 10)},
		"end":   {strconv.FormatInt(time.Now().Add(time.Minute).UnixNano(), 10)}})
	for _, stream := range answer.Get("data.result").Array() {
		for range stream.Get("values").Array() {
			labels = append(labels, stream.Get("stream"))
		}
	}
	return labels, err
}

const ofService = `{service_name="uservice3"}`

// logLine looks for the request's lines in Loki.
func (v *visit) logLine(ctx context.Context) outcome {
	lines, err := v.lines(ctx, fmt.Sprintf(`%s | trace_id=%q`, ofService, v.id), 10*time.Minute)
	switch {
	case err != nil:
		return v.unreachable(loki, err)
	case len(lines) > 0:
		return fine("%s of uservice3 in Loki", term.Count(len(lines), "line"))
	}
	return missing("Loki has no line of uservice3 at all", v.noLine)
}

// noLine finds out whether other lines come.
func (v *visit) noLine(ctx context.Context, detail string) outcome {
	has := func(query string, before time.Duration) bool {
		lines, _ := v.lines(ctx, query, before)
		return len(lines) > 0
	}
	switch {
	case has(fmt.Sprintf(`%s |= %q`, ofService, v.id), 10*time.Minute):
		return broken("a line has the id in its text, and not as structured metadata", "no structured metadata")
	case has(ofService, time.Second):
		return broken("lines of uservice3 come in, none with this trace's id", "outside of the context", "log level", "lines delayed")
	case has(ofService, 10*time.Minute):
		return broken("lines of uservice3 came to Loki before, and none since the request", "no lines sent any more", "log level")
	}
	return broken(detail, "no lines sent", "log level")
}
