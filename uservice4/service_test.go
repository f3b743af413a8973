package main

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// startEnv starts the service so that it answers at once.
var startEnv = map[string]string{"DATABASE_MIN": "0s", "DATABASE_MAX": "0s", "TRACE_LINK": "http://localhost:3000/{trace_id}"}

// TestTheServiceAnswersFailsLogsAndStops looks at what only this service has; what it shares with
// uservice1, 2 and 3 is tested there, and its spans by the golden traces of e2e/live.
func TestTheServiceAnswersFailsLogsAndStops(t *testing.T) {
	t.Setenv("OTEL_TRACES_EXPORTER", "none") // there is a provider already
	spans := tracetest.NewInMemoryExporter()
	otel.SetTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)))
	p := start(t, nil)
	for target, want := range map[string]struct {
		status int
		page   string // part of it
	}{
		"/":               {200, `<a href="http://localhost:3000/`},
		"/?fail=redis":    {200, "Hello, world!"}, // Redis is another's
		"/?fail=database": {500, "The database did not answer."},
		"/?fail=disk":     {400, "fail and slow take redis or database."},
		"/nowhere":        {404, "only one page"},
	} {
		if status, page := get(t, p.url+target); status != want.status || !strings.Contains(page, want.page) {
			t.Errorf("%s: answered %d, want %d: %s", target, status, want.status, page)
		}
	}
	for _, line := range p.logs.lines(t, "request") {
		if !slices.ContainsFunc(spans.GetSpans(), func(span tracetest.SpanStub) bool { return span.SpanContext.TraceID().String() == line["trace_id"] }) {
			t.Errorf("no span is of the trace that this line names: %v", line)
		}
	}
	if lines := p.logs.lines(t, "request failed"); len(lines) != 3 {
		t.Errorf("logged failures %v", lines)
	}
	p.stop()
	if res, err := http.Get(p.url); err == nil {
		res.Body.Close()
		t.Error("a stopped service still answers")
	}
}
