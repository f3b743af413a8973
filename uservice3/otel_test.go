package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace/noop"
)

func TestSettingsThatCannotWorkAreErrorsAndOthersWarnings(t *testing.T) {
	for name, test := range map[string]struct {
		variable, value string
		want            string // part of the error
		warning         string // part of the log
	}{
		"an unknown propagator":                {"OTEL_PROPAGATORS", "jaeger, uber", "want jaeger, tracecontext and baggage", ""},
		"none and a propagator":                {"OTEL_PROPAGATORS", "none,jaeger", "none alone", ""},
		"propagators with spaces":              {"OTEL_PROPAGATORS", " TraceContext, baggage ,jaeger,jaeger", "", ""},
		"no propagator":                        {"OTEL_PROPAGATORS", "none", "", ""},
		"an unknown exporter":                  {"OTEL_TRACES_EXPORTER", "jaeger", "otlp, console or none", ""},
		"an exporter in upper case":            {"OTEL_TRACES_EXPORTER", "OTLP", "", ""},
		"another protocol":                     {"OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "want OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=grpc", ""},
		"another protocol for traces":          {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf", "want OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=grpc", ""},
		"the protocol, in upper case":          {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "GRPC", "", ""},
		"an endpoint without a scheme":         {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "tempo:4317", "http://host:port", ""},
		"an address without a scheme":          {"OTEL_EXPORTER_OTLP_ENDPOINT", "127.0.0.1:4317", "http://host:port", ""},
		"an endpoint without a port":           {"OTEL_EXPORTER_OTLP_ENDPOINT", "http://tempo", "http://host:port", ""},
		"an endpoint with a password":          {"OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:secret@tempo:4317", `"http://[redacted]tempo:4317"`, ""},
		"an endpoint with a token":             {"OTEL_EXPORTER_OTLP_ENDPOINT", "http://tempo:4317/?t=secret", `"http://tempo:4317/?[redacted]"`, ""},
		"the port of OTLP over HTTP":           {"OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318", "", "over gRPC has 4317, over HTTP 4318"},
		"an IPv6 address":                      {"OTEL_EXPORTER_OTLP_ENDPOINT", "http://[::1]:4317/", "", ""},
		"an endpoint without a host":           {"OTEL_EXPORTER_OTLP_ENDPOINT", "http://:4317", "http://host:port", ""},
		"TLS on its usual port":                {"OTEL_EXPORTER_OTLP_ENDPOINT", "https://tempo.example.com", "", ""},
		"no queue":                             {"OTEL_BSP_MAX_QUEUE_SIZE", "0", "want 1 to", ""},
		"a negative batch":                     {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "-1", "want 1 to", ""},
		"a delay with a unit":                  {"OTEL_BSP_SCHEDULE_DELAY", "200ms", "without a unit; times are in milliseconds", ""},
		"a timeout with a unit":                {"OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "without a unit", ""},
		"a delay of log lines with a unit":     {"OTEL_BLRP_SCHEDULE_DELAY", "1s", "without a unit", ""},
		"a limit that is no number":            {"OTEL_SPAN_EVENT_COUNT_LIMIT", "many", "-1 for no limit", ""},
		"no limit":                             {"OTEL_SPAN_EVENT_COUNT_LIMIT", " -1 ", "", ""},
		"an unknown sampler":                   {"OTEL_TRACES_SAMPLER", "always", "always_on, always_off", ""},
		"a share of more than all":             {"OTEL_TRACES_SAMPLER_ARG", "50", "0 to 1", ""},
		"an unknown exemplar filter":           {"OTEL_METRICS_EXEMPLAR_FILTER", "none", "trace_based", ""},
		"an unknown compression":               {"OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "gzip or none", ""},
		"a certificate for log lines":          {"OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE", "/ca.pem", "SSL_CERT_FILE", ""},
		"an unknown metrics exporter":          {"OTEL_METRICS_EXPORTER", "otlp", "prometheus or none", ""},
		"an unknown logs exporter":             {"OTEL_LOGS_EXPORTER", "loki", "otlp or none", ""},
		"a logs endpoint that is no URL":       {"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "loki:3100", "/otlp/v1/logs", ""},
		"the SDK can be switched off":          {"OTEL_SDK_DISABLED", "TRUE", "", "telemetry is off"},
		"neither on nor off":                   {"OTEL_SDK_DISABLED", "1", "want true or false", ""},
		"an unknown resource attribute format": {"OTEL_RESOURCE_ATTRIBUTES", "no-value", "", "resource is incomplete"},
		"a header that is none":                {"OTEL_EXPORTER_OTLP_HEADERS", "secret", "", "parse headers"},
		"a certificate that is not there":      {"OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere", "", "read tls ca cert file"},
	} {
		t.Run(name, func(t *testing.T) {
			logs := &logBuffer{}
			t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
			t.Setenv(test.variable, test.value)
			shutdown, err := setUpTelemetry(t.Context(), slog.New(slog.NewJSONHandler(logs, nil)))
			if err == nil {
				shutdown()
			}
			if (err != nil) != (test.want != "") || err != nil && !(strings.Contains(err.Error(), test.want) && strings.Contains(err.Error(), test.variable)) {
				t.Errorf("error %v, want %q in it", err, test.want)
			}
			if (logs.String() != "") != (test.warning != "") || !strings.Contains(logs.String(), test.warning) {
				t.Errorf("logged %s, want %q in it", logs, test.warning)
			}
			if strings.Contains(fmt.Sprint(err, logs), "secret") {
				t.Errorf("a secret is told: %v %s", err, logs)
			}
		})
	}
}

func TestWhatIsSetForASignalWinsOverWhatIsSetForAll(t *testing.T) {
	t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "collector") // which alone could not work
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:9")
	t.Setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://127.0.0.1:9/v1/logs")
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	for logs, want := range map[string]string{"": "want OTEL_EXPORTER_OTLP_LOGS_PROTOCOL=http/protobuf", "http/protobuf": "<nil>"} {
		t.Setenv("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", logs)
		shutdown, err := setUpTelemetry(t.Context(), slog.New(slog.DiscardHandler))
		if err == nil {
			shutdown()
		}
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%q: %v", logs, err)
		}
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
	t.Setenv("OTEL_SERVICE_NAME", "")
	logs := &logBuffer{}
	if newResource(t.Context(), slog.New(slog.NewJSONHandler(logs, nil))); !strings.Contains(logs.String(), "set OTEL_SERVICE_NAME") {
		t.Errorf("without a name it logged %s", logs)
	}
}

func TestShutdownHasADeadlineAndIgnoresTheProgramsContext(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	defer func(before time.Duration) { flushTimeout = before }(flushTimeout)
	flushTimeout = 50 * time.Millisecond
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
	if took := time.Since(before); took < flushTimeout || len(logs.lines(t, "the last telemetry was not sent")) != 1 {
		t.Errorf("after %s of %s it logged %s", took, flushTimeout, logs)
	}
}

func TestWhatIsSetUpStopsWhenALaterPartFails(t *testing.T) {
	logs := &logBuffer{}
	t.Setenv("OTEL_METRICS_EXPORTER", "prometheus")
	t.Setenv("OTEL_EXPORTER_PROMETHEUS_HOST", "[127.0.0.1]") // brackets do no harm
	t.Setenv("OTEL_EXPORTER_PROMETHEUS_PORT", "0")
	t.Setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "loki:3100")
	if _, err := setUpTelemetry(t.Context(), slog.New(slog.NewJSONHandler(logs, nil))); err == nil {
		t.Fatal("no error")
	}
	conn, err := net.Dial("tcp", logs.lines(t, "serving metrics")[0]["addr"].(string))
	if err == nil {
		conn.Close()
		t.Error("the port of the metrics is still open")
	}
}

func TestASpanEndsByHowItsFunctionEnded(t *testing.T) {
	const failed = "internal work: Error error.type=*errors.errorString\n  event exception exception.message=%s exception.type=*errors.errorString\n"
	for name, test := range map[string]struct {
		function func() error
		want     string
		panics   any
	}{
		"well":          {func() error { return nil }, "internal work: Ok\n", nil},
		"with an error": {func() error { return errors.New("refused") }, fmt.Sprintf(failed, "refused"), nil},
		"with a panic":  {func() error { panic("a bug") }, fmt.Sprintf(failed, "panic: a bug"), "a bug"},
	} {
		t.Run(name, func(t *testing.T) {
			spans := record(t)
			defer func() {
				if reason, got := recover(), describe(spans.GetSpans()); reason != test.panics || got != test.want {
					t.Errorf("got %s want %s; the panic that goes on is %v", got, test.want, reason)
				}
			}()
			func() (err error) {
				_, span := otel.Tracer(scopeName).Start(t.Context(), "work")
				defer endSpan(span, &err)
				return test.function()
			}()
		})
	}
}
