package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/contrib/propagators/jaeger"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	collogspb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	tracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// TestMain keeps the tests from looking for a trace back end, unless one of them sets an endpoint for itself.
func TestMain(m *testing.M) {
	os.Setenv("OTEL_TRACES_EXPORTER", "none")
	os.Setenv("OTEL_SERVICE_NAME", "the-service")
	os.Exit(m.Run())
}

// record makes OpenTelemetry's globals keep every span in memory and propagate in Jaeger's format. Services that are
// made afterwards use them.
func record(t *testing.T) *tracetest.InMemoryExporter {
	t.Helper()
	exporter := tracetest.NewInMemoryExporter()
	otel.SetTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter)))
	otel.SetTextMapPropagator(jaeger.Jaeger{})
	return exporter
}

// describe writes spans as a tree, a line each: kind, name, status, and attributes; events below. What differs from
// run to run is left out.
func describe(spans tracetest.SpanStubs) string {
	slices.SortFunc(spans, func(a, b tracetest.SpanStub) int { return a.StartTime.Compare(b.StartTime) })
	known := map[trace.SpanID]bool{}
	for _, span := range spans {
		known[span.SpanContext.SpanID()] = true
	}
	var text strings.Builder
	var write func(span tracetest.SpanStub, indent string)
	write = func(span tracetest.SpanStub, indent string) {
		fmt.Fprintf(&text, "%s%s %s: %s%s\n", indent, span.SpanKind, span.Name, span.Status.Code, attributes(span.Attributes))
		for _, event := range span.Events {
			fmt.Fprintf(&text, "%s  event %s%s\n", indent, event.Name, attributes(event.Attributes))
		}
		for _, child := range spans {
			if child.Parent.SpanID() == span.SpanContext.SpanID() {
				write(child, indent+"  ")
			}
		}
	}
	for _, span := range spans {
		if !known[span.Parent.SpanID()] {
			write(span, "")
		}
	}
	return text.String()
}

// attributes writes what is the same in every run.
func attributes(attrs []attribute.KeyValue) string {
	slices.SortFunc(attrs, func(a, b attribute.KeyValue) int { return cmp.Compare(a.Key, b.Key) })
	var text strings.Builder
	for _, kv := range attrs {
		switch kv.Key {
		case "client.address", "network.peer.address", "network.peer.port", "server.address", "server.port", "url.full",
			"user_agent.original", "exception.stacktrace", "network.protocol.version", "http.response.body.size":
			continue
		}
		fmt.Fprintf(&text, " %s=%s", kv.Key, kv.Value.String())
	}
	return text.String()
}

// request asks the service for target with a propagation header, which may be empty.
func request(t *testing.T, s *service, target, uberTraceID string) *httptest.ResponseRecorder {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	if uberTraceID != "" {
		req.Header.Set("uber-trace-id", uberTraceID)
	}
	res := httptest.NewRecorder()
	s.handler().ServeHTTP(res, req)
	return res
}

func TestThePropagationHeaderIsRead(t *testing.T) {
	const traceID, parentID = "0123456789abcdef0123456789abcdef", "1111111111111111"
	for name, test := range map[string]struct {
		header  string
		traceID string // empty: a trace of its own
		sampled bool
	}{
		"sampled":              {header: traceID + ":" + parentID + ":0:1", traceID: traceID, sampled: true},
		"debug":                {header: traceID + ":" + parentID + ":0:3", traceID: traceID, sampled: true},
		"not sampled":          {header: traceID + ":" + parentID + ":0:0", traceID: traceID},
		"64-bit ids":           {header: "0123456789abcdef:" + parentID + ":0:1", traceID: "0000000000000000" + "0123456789abcdef", sampled: true},
		"with a parent":        {header: traceID + ":" + parentID + ":2222222222222222:1", traceID: traceID, sampled: true},
		"missing":              {sampled: true},
		"malformed":            {header: "what:is:this:1", sampled: true},
		"too few parts":        {header: traceID + ":" + parentID + ":1", sampled: true},
		"too many parts":       {header: traceID + ":" + parentID + ":0:1:1", sampled: true},
		"an all-zero trace id": {header: strings.Repeat("0", 32) + ":" + parentID + ":0:1", sampled: true},
		"an all-zero span id":  {header: traceID + ":" + strings.Repeat("0", 16) + ":0:1", sampled: true},
		"an over-long id":      {header: traceID + "00:" + parentID + ":0:1", sampled: true},
		"upper case":           {header: strings.ToUpper(traceID) + ":" + parentID + ":0:1", sampled: true},
		"far too long":         {header: strings.Repeat(":", maxHeaderBytes), sampled: true},
	} {
		t.Run(name, func(t *testing.T) {
			spans := record(t)
			res := request(t, newTestService(t, io.Discard), "/nowhere", test.header)
			parts := strings.Split(res.Header().Get("traceresponse"), "-")
			if len(parts) != 4 {
				t.Fatalf("traceresponse is %q", res.Header().Get("traceresponse"))
			}
			if test.traceID != "" && parts[1] != test.traceID {
				t.Errorf("trace id %s, want %s", parts[1], test.traceID)
			}
			if test.traceID == "" && strings.Contains(test.header, parts[1]) {
				t.Errorf("trace id %s was taken from %q", parts[1], test.header)
			}
			if sampled := parts[3] == "01"; sampled != test.sampled || sampled != (len(spans.GetSpans()) > 0) {
				t.Errorf("traceresponse flags %s with %d spans, want sampled %t", parts[3], len(spans.GetSpans()), test.sampled)
			}
			if !test.sampled {
				if !strings.Contains(res.Body.String(), "not sampled") {
					t.Errorf("page: %s", res.Body)
				}
				return
			}
			span := spans.GetSpans()[0]
			if remote := span.Parent.IsRemote(); remote != (test.traceID != "") || remote && span.Parent.SpanID().String() != parentID {
				t.Errorf("parent is %v", span.Parent)
			}
		})
	}
}

func TestAPanicIsSeenInTheSpan(t *testing.T) {
	spans := record(t)
	s := newTestService(t, io.Discard)
	s.tracer = nil // used by the first mock call
	if res := request(t, s, "/", ""); res.Code != http.StatusInternalServerError || res.Header().Get("traceresponse") == "" {
		t.Errorf("answered %d with %v", res.Code, res.Header())
	}
	tree := describe(spans.GetSpans())
	if !strings.HasPrefix(tree, "server handle_incoming_call: Error") || !strings.Contains(tree, "exception.message=panic: ") {
		t.Errorf("spans:\n%s", tree)
	}
}

func TestLogLinesNameTheirSpan(t *testing.T) {
	spans, logs := record(t), &logBuffer{}
	s := newTestService(t, io.Discard)
	s.log = slog.New(withTelemetry(slog.NewJSONHandler(logs, nil))).With("a", 1).WithGroup("")
	request(t, s, "/nowhere", "")
	span := spans.GetSpans()[0].SpanContext
	for _, message := range []string{"request", "request failed"} {
		lines := logs.lines(t, message)
		if len(lines) != 1 || lines[0]["trace_id"] != span.TraceID().String() || lines[0]["span_id"] != span.SpanID().String() {
			t.Errorf("%s: logged %v, want the ids of %v", message, lines, span)
		}
	}
	s.log.Info("outside")
	if line := logs.lines(t, "outside")[0]; line["trace_id"] != nil {
		t.Errorf("a line outside of any span has a trace id: %v", line)
	}
}

func TestThePageNamesItsTrace(t *testing.T) {
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{15: 1}, SpanID: trace.SpanID{7: 1}, TraceFlags: trace.FlagsSampled})
	const id = "00000000000000000000000000000001"
	for name, test := range map[string]struct {
		pattern string
		span    trace.SpanContext
		want    string
	}{
		"with a link":       {pattern: `http://x/{trace_id}?q="{trace_id}"`, span: span, want: `<a href="http://x/` + id + `?q=&#34;` + id + `&#34;">` + id + `</a>`},
		"without a pattern": {span: span, want: id},
		"not sampled":       {pattern: "http://x/{trace_id}", span: span.WithTraceFlags(0), want: "not sampled"},
		"not traced":        {pattern: "http://x/{trace_id}", want: "not sampled"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := withTrace("Trace: {{trace}}!", test.pattern, test.span); got != "Trace: "+test.want+"!" {
				t.Errorf("got %s", got)
			}
		})
	}
}

func TestSettingsThatCannotWorkAreErrors(t *testing.T) {
	for name, test := range map[string]struct {
		variable, value string
		want            string // part of the error; empty for none
	}{
		"an unknown propagator":                {"OTEL_PROPAGATORS", "jaeger, uber", "uber"},
		"propagators with spaces":              {"OTEL_PROPAGATORS", " tracecontext, baggage ,jaeger", ""},
		"no propagator":                        {"OTEL_PROPAGATORS", "none", ""},
		"an unknown exporter":                  {"OTEL_TRACES_EXPORTER", "jaeger", "otlp, console or none"},
		"another protocol":                     {"OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf", "grpc only"},
		"an endpoint without a scheme":         {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "tempo:4317", "http://host:port"},
		"an address without a scheme":          {"OTEL_EXPORTER_OTLP_ENDPOINT", "127.0.0.1:4317", "http://host:port"},
		"an endpoint without a port":           {"OTEL_EXPORTER_OTLP_ENDPOINT", "http://tempo", "http://host:port"},
		"TLS on its usual port":                {"OTEL_EXPORTER_OTLP_ENDPOINT", "https://tempo.example.com", ""},
		"a traces endpoint wins":               {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://localhost:4317", ""},
		"an unknown metrics exporter":          {"OTEL_METRICS_EXPORTER", "otlp", "prometheus or none"},
		"an unknown logs exporter":             {"OTEL_LOGS_EXPORTER", "loki", "otlp or none"},
		"a logs endpoint that is no URL":       {"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "loki:3100", "/otlp/v1/logs"},
		"the SDK can be switched off":          {"OTEL_SDK_DISABLED", "true", ""},
		"an unknown resource attribute format": {"OTEL_RESOURCE_ATTRIBUTES", "no-value", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
			t.Setenv(test.variable, test.value)
			shutdown, err := setUpTelemetry(t.Context(), slog.New(slog.DiscardHandler))
			if err == nil {
				shutdown()
			}
			if (err != nil) != (test.want != "") || err != nil && !(strings.Contains(err.Error(), test.want) &&
				strings.Contains(err.Error(), test.variable) && strings.Contains(err.Error(), test.value)) {
				t.Errorf("error %v, want %q in it", err, test.want)
			}
		})
	}
}

func TestWithoutAnExporterThereAreNoSpans(t *testing.T) {
	t.Setenv("OTEL_TRACES_EXPORTER", "none")
	if stop, err := setUpTraces(t.Context(), newResource(t.Context(), slog.New(slog.DiscardHandler)), slog.New(slog.DiscardHandler)); stop != nil || err != nil {
		t.Errorf("there is something to stop, or an error: %v", err)
	}
}

func TestTraceLinksThatCannotWorkAreErrors(t *testing.T) {
	for pattern, good := range map[string]bool{
		"":                                    true,
		"http://localhost:3000/t/{trace_id}":  true,
		"https://localhost/?q=%22{trace_id}%": true,
		"http://localhost:3000/":              false,
		"javascript:alert('{trace_id}')":      false,
		"http://a b/{trace_id}":               false,
	} {
		if err := checkTraceLink(pattern); (err == nil) != good {
			t.Errorf("%q: %v", pattern, err)
		}
	}
}

func TestTheResourceNamesTheProcess(t *testing.T) {
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,os.type=mine")
	res := newResource(t.Context(), slog.New(slog.DiscardHandler)).Set()
	for key, want := range map[attribute.Key]string{
		"service.name": "the-service", "deployment.environment.name": "test", "os.type": "mine", // the environment wins
		"process.pid": fmt.Sprint(os.Getpid()), "telemetry.sdk.language": "go", "process.runtime.name": "go",
	} {
		if value, _ := res.Value(key); value.String() != want {
			t.Errorf("%s is %q, want %q", key, value.String(), want)
		}
	}
	for _, key := range []attribute.Key{"host.name", "os.description", "process.command_args", "process.executable.name", "process.owner", "service.instance.id", "telemetry.sdk.version"} {
		if !res.HasValue(key) {
			t.Errorf("no %s", key)
		}
	}
}

func TestAMissingServiceNameIsSaid(t *testing.T) {
	t.Setenv("OTEL_SERVICE_NAME", "")
	logs := &logBuffer{}
	newResource(t.Context(), slog.New(slog.NewJSONHandler(logs, nil)))
	if !strings.Contains(logs.String(), "set OTEL_SERVICE_NAME") {
		t.Errorf("logged %s", logs)
	}
}

// backend is a trace back end that counts spans.
type backend struct {
	tracepb.UnimplementedTraceServiceServer
	mu    sync.Mutex
	names []string
}

func (b *backend) Export(_ context.Context, req *tracepb.ExportTraceServiceRequest) (*tracepb.ExportTraceServiceResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, rs := range req.ResourceSpans {
		for _, ss := range rs.ScopeSpans {
			for _, span := range ss.Spans {
				b.names = append(b.names, span.Name)
			}
		}
	}
	return &tracepb.ExportTraceServiceResponse{}, nil
}

func (b *backend) has(name string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Contains(b.names, name)
}

// serve listens on addr until the returned function is called.
func (b *backend) serve(t *testing.T, addr string) (string, func()) {
	t.Helper()
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	tracepb.RegisterTraceServiceServer(server, b)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return listener.Addr().String(), server.Stop
}

func TestSpansSurviveTheBackEndsAbsence(t *testing.T) {
	b, logs := &backend{}, &logBuffer{}
	addr, stop := b.serve(t, "127.0.0.1:0")
	t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://"+addr)
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "100") // a batch is given up after these milliseconds
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
	shutdown, err := setUpTelemetry(t.Context(), slog.New(slog.NewJSONHandler(logs, nil)))
	if err != nil {
		t.Fatal(err)
	}
	span := func(name string) {
		_, span := otel.Tracer(scopeName).Start(t.Context(), name)
		span.End()
	}
	span("before")
	waitFor(t, "the first span", func() bool { return b.has("before") })

	stop()
	span("lost")
	waitFor(t, "the log line", func() bool {
		return len(logs.lines(t, "telemetry does not reach the back end; requests are answered all the same")) == 1
	})
	b.serve(t, addr)
	waitFor(t, "spans to flow again", func() bool {
		span("after")
		return b.has("after")
	})
	waitFor(t, "the log line", func() bool {
		return len(logs.lines(t, "telemetry reaches the back end again")) == 1
	})
	span("last")
	shutdown()
	if !b.has("last") {
		t.Error("the span before the shutdown was not sent")
	}
	if lines := strings.Count(logs.String(), "\n"); lines != 2 {
		t.Errorf("%d log lines for one absence:\n%s", lines, logs)
	}
}

func TestTextThatIsNoUTF8LosesNothing(t *testing.T) {
	b, logs := &backend{}, &logBuffer{}
	addr, _ := b.serve(t, "127.0.0.1:0")
	t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://"+addr)
	shutdown, err := setUpTelemetry(t.Context(), slog.New(slog.NewJSONHandler(logs, nil)))
	if err != nil {
		t.Fatal(err)
	}
	const bad = "a\xffb"
	tracer := otel.Tracer(scopeName)
	_, span := tracer.Start(t.Context(), "attribute", trace.WithAttributes(attribute.Int("n", 1), attribute.String("text", bad)))
	span.End()
	_, span = tracer.Start(t.Context(), "event")
	span.AddEvent("event", trace.WithAttributes(attribute.String("text", bad)))
	span.End()
	_, span = tracer.Start(t.Context(), "status")
	endSpan(span, errors.New(bad))
	shutdown()
	for _, name := range []string{"attribute", "event", "status"} {
		if !b.has(name) {
			t.Errorf("the span with bad text in its %s was lost: %s", name, logs)
		}
	}
}

func TestMetrics(t *testing.T) {
	logs := &logBuffer{}
	t.Setenv("OTEL_METRICS_EXPORTER", "prometheus")
	t.Setenv("OTEL_EXPORTER_PROMETHEUS_HOST", "127.0.0.1")
	t.Setenv("OTEL_EXPORTER_PROMETHEUS_PORT", "0")
	t.Setenv("OTEL_GO_X_OBSERVABILITY", "true")
	shutdown, err := setUpTelemetry(t.Context(), slog.New(slog.NewJSONHandler(logs, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer shutdown()
	otel.SetTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithBatcher(tracetest.NewNoopExporter())))
	span := strings.Split(request(t, newTestService(t, io.Discard), "http://whoever.example.com/nowhere", "").Header().Get("traceresponse"), "-")
	addr, _ := logs.lines(t, "serving metrics")[0]["addr"].(string)

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	page := string(body)
	for name, want := range map[string]string{
		"the duration of requests, in our buckets": `http_server_request_duration_seconds_bucket{http_request_method="GET",http_response_status_code="404",`,
		"a bucket of its own for slow ones":        `le="1.75"`,
		"an exemplar with the trace's id":          `trace_id="` + span[1] + `"`,
		"the Go runtime":                           "go_goroutine_count",
		"the process":                              "process_resident_memory_bytes",
		"the SDK's own health":                     "otel_sdk_processor_span_queue_capacity",
		"who this is":                              `target_info{`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no %s: %s is missing in\n%s", name, want, page)
		}
	}
	for _, unwanted := range []string{"server_address", "whoever", "body_size"} {
		if strings.Contains(page, unwanted) {
			t.Errorf("%s is in\n%s", unwanted, page)
		}
	}

	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("OTEL_EXPORTER_PROMETHEUS_PORT", port)
	if _, err := setUpTelemetry(t.Context(), slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), addr) {
		t.Errorf("a taken port: %v", err)
	}
}

func TestLogLinesGoToTheirBackEnd(t *testing.T) {
	var mu sync.Mutex
	var records []*logspb.LogRecord
	service := ""
	backEnd := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		body, err := io.ReadAll(r.Body)
		var request collogspb.ExportLogsServiceRequest
		if err := errors.Join(err, proto.Unmarshal(body, &request)); err != nil {
			t.Error(err)
		}
		for _, resource := range request.ResourceLogs {
			for _, kv := range resource.Resource.Attributes {
				if kv.Key == "service.name" {
					service = kv.Value.GetStringValue()
				}
			}
			for _, scope := range resource.ScopeLogs {
				records = append(records, scope.LogRecords...)
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	defer backEnd.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", backEnd.URL+"/otlp/v1/logs")
	record(t)
	stdout := &logBuffer{}
	shutdown, err := setUpTelemetry(t.Context(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(withTelemetry(slog.NewJSONHandler(stdout, nil))) // afterwards: OpenTelemetry's globals pass on once
	ctx, span := otel.Tracer(scopeName).Start(t.Context(), "request")
	log.InfoContext(ctx, "inside", slog.Group("headers", "bad", "a\xffb"))
	log.DebugContext(ctx, "below the level")
	span.End()
	shutdown()
	mu.Lock()
	defer mu.Unlock()
	if len(records) != 1 || records[0].Body.GetStringValue() != "inside" || service != "the-service" {
		t.Fatalf("received %v of %s", records, service)
	}
	id := span.SpanContext().TraceID()
	if !bytes.Equal(records[0].TraceId, id[:]) {
		t.Errorf("trace id %x, want %s", records[0].TraceId, id)
	}
	if lines := stdout.lines(t, "inside"); len(lines) != 1 || lines[0]["trace_id"] != id.String() {
		t.Errorf("standard output has %v", lines)
	}
}

func TestShutdownHasADeadlineAndIgnoresTheProgramsContext(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	logs := &logBuffer{}
	t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://"+listener.Addr().String())
	ctx, cancel := context.WithCancel(t.Context())
	shutdown, err := setUpTelemetry(ctx, slog.New(slog.NewJSONHandler(logs, nil)))
	if err != nil {
		t.Fatal(err)
	}
	_, span := otel.Tracer(scopeName).Start(ctx, "stuck")
	span.End()
	cancel()
	before := time.Now()
	shutdown()
	if took := time.Since(before); took < flushTimeout || took > flushTimeout+patience {
		t.Errorf("shutdown took %s, want about %s", took, flushTimeout)
	}
	if len(logs.lines(t, "the last telemetry was not sent")) != 1 {
		t.Errorf("logged %s", logs)
	}
}
