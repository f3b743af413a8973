package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr/funcr"
	"go.opentelemetry.io/otel"
)

// This file finds settings that cannot work. A reader may skip it.

// host is a name or an IP address: a regular expression.
const host = `(\[[\da-f:.]+\]|[\pL\d_.-]+)`

// settings says what variables take, as regular expressions of names and values. The SDK does not check
// numbers, and does not know all words. gRPC would ignore an address without a scheme, or use TLS, and guess a port.
var settings = []struct{ names, values, want string }{
	{`OTEL_EXPORTER_OTLP_(TRACES_)?ENDPOINT`, `(http://` + host + `:\d+|https://` + host + `(:\d+)?)(/[^\s?@%]*)?`,
		"http://host:port, or https:// for TLS"},
	{`OTEL_EXPORTER_OTLP_LOGS_ENDPOINT`, `https?://` + host + `(:\d+)?(/[^\s?@%]*)?`, "a URL such as http://loki:3100/otlp/v1/logs"},
	{`OTEL_(BSP|BLRP)_.*|OTEL_EXPORTER_OTLP_((TRACES|LOGS)_)?TIMEOUT`, `[1-9]\d{0,6}`,
		"1 to 9999999, without a unit; times are in milliseconds"},
	{`OTEL_.*_LIMIT`, `\d{1,7}|-1`, "0 to 9999999, or -1 for no limit"},
	{`OTEL_TRACES_SAMPLER`, `(parentbased_)?(always_on|always_off|traceidratio)`, "always_on or another of the specification"},
	{`OTEL_TRACES_SAMPLER_ARG`, `0?\.\d+|[01](\.0*)?`, "0 to 1, such as 0.1"},
	{`OTEL_PROPAGATORS`, `none|((^|\s*,\s*)(jaeger|tracecontext|baggage))+`, "jaeger, tracecontext and baggage, or none alone"},
	{`OTEL_TRACES_EXPORTER`, `otlp|console|none`, "otlp, console or none"},
	{`OTEL_METRICS_EXPORTER`, `prometheus|none`, "prometheus or none"},
	{`OTEL_LOGS_EXPORTER`, `otlp|none`, "otlp or none"},
	{`OTEL_METRICS_EXEMPLAR_FILTER`, `always_on|always_off|trace_based`, "always_on, always_off or trace_based"},
	{`OTEL_EXPORTER_OTLP_((TRACES|LOGS)_)?COMPRESSION`, `gzip|none`, "gzip or none"},
	{`OTEL_EXPORTER_OTLP_LOGS_(CLIENT_)?(CERTIFICATE|KEY)`, ``, "none: certificates of a log store are taken from SSL_CERT_FILE"},
	{`OTEL_SDK_DISABLED`, `true|false`, "true or false"},
}

var secrets = regexp.MustCompile(`(//)\S*@|(\?)\S+|(HEADERS value )(?s:.*)`) // a password or a token, so it is not logged

func redact(text string) string { return secrets.ReplaceAllString(text, "$1$2$3[redacted]") }

// env returns the value of a variable. An empty one counts as not set.
func env(name, preset string) string { return cmp.Or(strings.TrimSpace(os.Getenv(name)), preset) }

// checkSettings says which settings are wrong. It writes words in lower case, as the SDK wants them. From
// now on our log has what the SDK says, once a minute, without the values that it shows: a header's may be a
// secret. It is not sent: an SDK that speaks while it sends a line would wait for itself.
func checkSettings(log *slog.Logger) (err error) {
	if handler, ok := log.Handler().(telemetryHandler); ok {
		log = slog.New(handler.Handler)
	}
	var recent sync.Map // the texts of the last minute
	warn := func(text string) {
		if _, said := recent.LoadOrStore(text, true); !said {
			time.AfterFunc(time.Minute, func() { recent.Delete(text) })
			log.Warn("telemetry", "error", redact(text))
		}
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { warn(err.Error()) }))
	otel.SetLogger(funcr.New(func(_, text string) { warn(text) }, funcr.Options{Verbosity: 1,
		RenderArgsHook: func([]any) []any { return nil }}))
	for _, s := range settings {
		names, values := regexp.MustCompile("^("+s.names+")$"), regexp.MustCompile("(?i)^("+s.values+")$")
		for _, variable := range os.Environ() {
			name, _, _ := strings.Cut(variable, "=")
			if value := env(name, ""); value != "" && names.MatchString(name) {
				if !values.MatchString(value) {
					err = errors.Join(err, fmt.Errorf("%s=%q: want %s", name, redact(value), s.want))
				}
				if !strings.Contains(value, "://") {
					value = strings.ToLower(value)
				}
				os.Setenv(name, value)
			}
		}
	}
	return err
}

// checkOTLP says what is wrong with protocol and port of a signal, which is TRACES or LOGS. What is
// set for the signal wins over what is set for all.
func checkOTLP(signal, spoken, endpoint string, log *slog.Logger) error {
	const all = "OTEL_EXPORTER_OTLP_"
	if protocol := env(all+signal+"_PROTOCOL", env(all+"PROTOCOL", spoken)); !strings.EqualFold(protocol, spoken) {
		return fmt.Errorf("%[1]s%[2]s_PROTOCOL or %[1]sPROTOCOL=%[3]q: want %[1]s%[2]s_PROTOCOL=%[4]s",
			all, signal, protocol, spoken)
	}
	if other := map[string]string{"grpc": ":4318", "http/protobuf": ":4317"}[spoken]; strings.Contains(endpoint, other) {
		log.Warn("probably the wrong port: OTLP over gRPC has 4317, over HTTP 4318", "endpoint", endpoint, "protocol", spoken)
	}
	return nil
}
