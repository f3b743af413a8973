package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr/funcr"
	"go.opentelemetry.io/otel"
)

// This file finds settings that the SDK takes and that cannot work. A reader may skip it.

var (
	re = regexp.MustCompile
	// settings says what the SDK's own variables take: numbers unchecked, and of words it knows few.
	settings = []struct {
		names, values *regexp.Regexp
		want          string
	}{
		{re(`^OTEL_(BSP|BLRP)_|^OTEL_EXPORTER_OTLP_((TRACES|LOGS)_)?TIMEOUT$`), re(`^[1-9]\d{0,6}$`),
			"1 to 9999999, without a unit; times are in milliseconds"},
		{re(`^OTEL_.*_LIMIT$`), re(`^(\d{1,7}|-1)$`), "0 to 9999999, or -1 for no limit"},
		{re(`^OTEL_TRACES_SAMPLER$`), re(`^(parentbased_)?(always_on|always_off|traceidratio)$`),
			"always_on, always_off or traceidratio, also behind parentbased_"},
		{re(`^OTEL_TRACES_SAMPLER_ARG$`), re(`^(0?\.\d+|[01](\.0*)?)$`), "0 to 1, such as 0.1"},
		{re(`^OTEL_METRICS_EXEMPLAR_FILTER$`), re(`^(always_on|always_off|trace_based)$`), "always_on, always_off or trace_based"},
		{re(`^OTEL_EXPORTER_OTLP_((TRACES|LOGS)_)?COMPRESSION$`), re(`^(gzip|none)$`), "gzip or none"},
		{re(`^OTEL_EXPORTER_OTLP_LOGS_(CLIENT_)?(CERTIFICATE|KEY)$`), re(`^$`), "none: certificates of a log store are taken from SSL_CERT_FILE"},
	}
	secrets = re(`(//)\S*@|(\?)\S+|(HEADERS value )(?s:.*)`) // a password or a token, so it is not logged
)

func redact(text string) string { return secrets.ReplaceAllString(text, "$1$2$3[redacted]") }

// env returns the value of a variable. An empty one counts as not set.
func env(name, preset string) string { return cmp.Or(strings.TrimSpace(os.Getenv(name)), preset) }

// choice returns the value of a variable that takes certain words, in lower case.
func choice(name, preset string) string { return strings.ToLower(env(name, preset)) }

// checkSettings says which settings are wrong, and writes words as the SDK wants them. From now on our
// log has what the SDK says, once a minute, without the values that it shows: a header's may be a
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
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		for _, s := range settings {
			if value := choice(name, ""); value != "" && s.names.MatchString(name) {
				os.Setenv(name, value)
				if !s.values.MatchString(value) {
					err = errors.Join(err, fmt.Errorf("%s=%q: want %s", name, value, s.want))
				}
			}
		}
	}
	if off := choice("OTEL_SDK_DISABLED", "false"); off != "true" && off != "false" {
		log.Warn("ignored: want true or false", "OTEL_SDK_DISABLED", off)
	}
	return err
}

// checkOTLP says what is wrong with protocol and endpoint of a signal, which is TRACES or LOGS. What
// is set for the signal wins over what is set for all.
func checkOTLP(signal, spoken, endpoint string, log *slog.Logger) error {
	const all = "OTEL_EXPORTER_OTLP_"
	if protocol := choice(all+signal+"_PROTOCOL", choice(all+"PROTOCOL", spoken)); protocol != spoken {
		return fmt.Errorf("%[1]s%[2]s_PROTOCOL or %[1]sPROTOCOL=%[3]q: want %[1]s%[2]s_PROTOCOL=%[4]s",
			all, signal, protocol, spoken)
	}
	// gRPC would ignore an address without a scheme, or use TLS, and guess a missing port.
	u, err := url.Parse(endpoint)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" ||
		u.Scheme != "https" && (u.Scheme != "http" || spoken == "grpc" && u.Port() == "") {
		return fmt.Errorf("%[1]s%[2]s_ENDPOINT or %[1]sENDPOINT=%[3]q: want http://host:port, or https:// for TLS, "+
			"and with OTLP over HTTP a path such as /otlp/v1/logs", all, signal, redact(endpoint))
	}
	if usual := map[string]string{"4317": "grpc", "4318": "http/protobuf"}[u.Port()]; usual != "" && usual != spoken {
		log.Warn("probably the wrong port: OTLP over gRPC has 4317, over HTTP 4318", "endpoint", endpoint, "protocol", spoken)
	}
	return nil
}
