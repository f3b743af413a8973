// Package golden describes traces in a form that does not differ from run to run.
package golden

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"example.com/grafana-tempo-go-demo/demo/tempo"
)

// keyAttributes are the attributes that golden traces compare. Ports, peers and times differ from
// run to run.
var keyAttributes = []string{
	"db.operation.name", "db.query.text", "db.system.name", "exception.message", "happened",
	"http.request.method", "http.response.status_code", "test-attribute-1", "traceresponse",
}

// someIDs matches ids, which differ from run to run.
var someIDs = regexp.MustCompile(`[0-9a-f]{32}|[0-9a-f]{16}`)

// Describe writes a trace as a tree: a line for each span (service, kind, name, status, key
// attributes) and one below for each of its events. The proxy's service is called <proxy>: stacks
// have different ones.
func Describe(trace *tempo.Trace) string {
	var text strings.Builder
	var write func(span *tempo.Span, indent string)
	write = func(span *tempo.Span, indent string) {
		service := span.Service
		if service == "traefik" || service == "gateway" {
			service = "<proxy>"
		}
		fmt.Fprintf(&text, "%s%s %s %s: %s%s\n", indent, service, span.Kind, span.Name, span.Status, attributes(span.Attributes))
		for _, event := range span.Events {
			fmt.Fprintf(&text, "%s  event %s%s\n", indent, event.Name, attributes(event.Attributes))
		}
		for _, child := range span.Children {
			write(child, indent+"  ")
		}
	}
	for _, s := range trace.Spans {
		if s.Parent == nil {
			write(s, "")
		}
	}
	return text.String()
}

func attributes(all map[string]any) string {
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if slices.Contains(keyAttributes, key) {
			fmt.Fprintf(&text, " %s=%s", key, someIDs.ReplaceAllString(fmt.Sprint(all[key]), "<id>"))
		}
	}
	return text.String()
}
