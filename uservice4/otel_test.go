package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/contrib/propagators/jaeger"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// TestMain keeps the tests from looking for a trace back end, unless one of them sets an endpoint
// for itself.
func TestMain(m *testing.M) {
	os.Setenv("OTEL_TRACES_EXPORTER", "none")
	os.Setenv("OTEL_SERVICE_NAME", "the-service")
	os.Exit(m.Run())
}

// record makes OpenTelemetry's globals keep every span in memory and propagate in Jaeger's format.
// Services that are made afterwards use them.
func record(t *testing.T) *tracetest.InMemoryExporter {
	t.Helper()
	exporter := tracetest.NewInMemoryExporter()
	otel.SetTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter)))
	otel.SetTextMapPropagator(jaeger.Jaeger{})
	return exporter
}

// describe writes spans as a tree, a line each: kind, name, status, and attributes; events below.
// What differs from run to run is left out.
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
	before := noop.NewTracerProvider()
	otel.SetTracerProvider(before)
	log := slog.New(slog.DiscardHandler)
	if _, err := setUpTraces(t.Context(), newResource(t.Context(), log), log); err != nil || otel.GetTracerProvider() != before {
		t.Errorf("there is something that makes spans, or an error: %v", err)
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
	if took := time.Since(before); took < flushTimeout || took > flushTimeout+waitTimeout {
		t.Errorf("shutdown took %s, want about %s", took, flushTimeout)
	}
	if len(logs.lines(t, "the last telemetry was not sent")) != 1 {
		t.Errorf("logged %s", logs)
	}
}
