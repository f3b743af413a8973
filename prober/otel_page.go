package main

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strings"

	"go.opentelemetry.io/otel/trace"
)

// setTraceResponse tells the caller which trace its request belongs to, in the form of
// https://www.w3.org/TR/trace-context-2/#traceresponse-header. Call it before the first Write.
func setTraceResponse(header http.Header, span trace.SpanContext) {
	if span.IsValid() {
		header.Set("Traceresponse", "00-"+span.TraceID().String()+"-"+span.SpanID().String()+"-"+span.TraceFlags().String())
	}
}

// withTrace puts the trace's id where page has {{trace}}, as a link if there is a pattern for one.
func withTrace(page, linkPattern string, span trace.SpanContext) string {
	line := "not sampled"
	if span.IsSampled() {
		line = span.TraceID().String()
		if linkPattern != "" {
			line = `<a href="` + html.EscapeString(strings.ReplaceAll(linkPattern, "{trace_id}", line)) + `">` + line + `</a>`
		}
	}
	return strings.Replace(page, "{{trace}}", line, 1)
}

// checkTraceLink says what is wrong with a link's pattern. None at all is fine.
func checkTraceLink(pattern string) error {
	u, err := url.Parse(pattern)
	if pattern == "" || err == nil && (u.Scheme == "http" || u.Scheme == "https") && strings.Contains(pattern, "{trace_id}") {
		return nil
	}
	return fmt.Errorf("-trace-link %q: want an http or https URL with {trace_id} where the trace id goes", pattern)
}
