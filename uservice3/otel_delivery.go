package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr/funcr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protopath"
	"google.golang.org/protobuf/reflect/protorange"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// This file keeps spans and log lines from being lost. A reader may skip it. It refuses settings that cannot work,
// it retries while a back end is away, and it replaces text that is not UTF-8: the SDK lets that pass, and one such
// byte in a header or an environment variable would lose a whole batch. Mending requests as they come in would not
// do, because a query has to travel on as it is.

// settings says what variables take, as regular expressions of names and values. The SDK does not check
// numbers, and does not know all words.
var settings = []struct{ names, values, want string }{
	{`OTEL_(BSP|BLRP)_.*|OTEL_EXPORTER_OTLP_(TRACES_|LOGS_)?TIMEOUT`, `[1-9]\d{0,6}`, "1 to 9999999, without a unit; times are in milliseconds"},
	{`OTEL_.*_LIMIT`, `\d{1,7}|-1`, "0 to 9999999, or -1 for no limit"},
	{`OTEL_TRACES_SAMPLER`, `(parentbased_)?(always_on|always_off|traceidratio)`, "always_on, always_off or traceidratio, also behind parentbased_"},
	{`OTEL_TRACES_SAMPLER_ARG`, `0?\.\d+|[01](\.0*)?`, "0 to 1, such as 0.1"},
	{`OTEL_PROPAGATORS`, `none|((^|\s*,\s*)(jaeger|tracecontext|baggage))+`, "jaeger, tracecontext and baggage, or none alone"},
	{`OTEL_TRACES_EXPORTER`, `otlp|console|none`, "otlp, console or none"},
	{`OTEL_METRICS_EXPORTER`, `prometheus|none`, "prometheus or none"},
	{`OTEL_LOGS_EXPORTER`, `otlp|none`, "otlp or none"},
	{`OTEL_METRICS_EXEMPLAR_FILTER`, `always_on|always_off|trace_based`, "always_on, always_off or trace_based"},
	{`OTEL_EXPORTER_OTLP_(TRACES_|LOGS_)?COMPRESSION`, `gzip|none`, "gzip or none"},
	{`OTEL_EXPORTER_OTLP_LOGS_(CLIENT_)?(CERTIFICATE|KEY)`, ``, "none: certificates of a log store are taken from SSL_CERT_FILE"},
	{`OTEL_SDK_DISABLED`, `true|false`, "true or false"},
}

var secrets = regexp.MustCompile(`(//)\S*@|(\?)\S+|(HEADERS value )(?s:.*)`) // a password or a token, so it is not logged

func redact(text string) string { return secrets.ReplaceAllString(text, "$1$2$3[redacted]") }

// env returns the value of a variable. An empty one counts as not set.
func env(name, preset string) string { return cmp.Or(strings.TrimSpace(os.Getenv(name)), preset) }

const sdkSays = "telemetry" // the message of our line about what the SDK logs

// checkSettings returns what is wrong with the settings. It writes words in lower case, as the SDK wants them. From
// now on our log has what the SDK logs, each text once a minute, without its values: a header's may be a secret.
func checkSettings(log *slog.Logger) (err error) {
	var recent sync.Map // the texts of the last minute
	warn := func(text string) {
		if _, said := recent.LoadOrStore(text, true); !said {
			time.AfterFunc(time.Minute, func() { recent.Delete(text) })
			log.Warn(sdkSays, "error", redact(text))
		}
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { warn(err.Error()) }))
	noValues := func([]any) []any { return nil }
	otel.SetLogger(funcr.New(func(_, text string) { warn(text) }, funcr.Options{Verbosity: 1, RenderArgsHook: noValues}))
	for _, s := range settings {
		names, values := regexp.MustCompile("^("+s.names+")$"), regexp.MustCompile("^("+s.values+")$")
		for _, variable := range os.Environ() {
			name, _, _ := strings.Cut(variable, "=")
			if value := strings.ToLower(env(name, "")); value != "" && names.MatchString(name) {
				os.Setenv(name, value)
				if !values.MatchString(value) {
					err = errors.Join(err, fmt.Errorf("%s=%q: want %s", name, value, s.want))
				}
			}
		}
	}
	return err
}

// retry waits briefly, so that telemetry flows again within seconds of the back end's return. How long a
// batch is tried at most is up to OTEL_EXPORTER_OTLP_TIMEOUT, OTEL_BSP_EXPORT_TIMEOUT and OTEL_BLRP_EXPORT_TIMEOUT.
var retry = otlptracegrpc.RetryConfig{Enabled: true, InitialInterval: time.Second / 4, MaxInterval: time.Second, MaxElapsedTime: time.Hour}

// attempts logs, once a minute at most, that the back end is not reached, and when it is reached again.
type attempts struct {
	log    *slog.Logger
	logged time.Time // that it is away
	away   bool
}

// newAttempts refuses a protocol that is not spoken for a signal, TRACES or LOGS, and an endpoint that cannot work.
// What is set for the signal wins over what is set for all.
func newAttempts(what, signal, spoken, endpoint string, log *slog.Logger) (*attempts, error) {
	const all = "OTEL_EXPORTER_OTLP_"
	if protocol := env(all+signal+"_PROTOCOL", env(all+"PROTOCOL", spoken)); !strings.EqualFold(protocol, spoken) {
		return nil, fmt.Errorf("%[1]s%[2]s_PROTOCOL or %[1]sPROTOCOL=%[3]q: want %[1]s%[2]s_PROTOCOL=%[4]s", all, signal, protocol, spoken)
	}
	// gRPC would ignore an address without a scheme, or use TLS, and guess a missing port.
	u, err := url.Parse(endpoint)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" ||
		u.Scheme != "https" && (u.Scheme != "http" || spoken == "grpc" && u.Port() == "") {
		return nil, fmt.Errorf("%[1]s%[2]s_ENDPOINT or %[1]sENDPOINT=%[3]q: want http://host:port, or https:// for TLS, "+
			"and with OTLP over HTTP a path such as /otlp/v1/logs", all, signal, redact(endpoint))
	}
	if other := map[string]string{"grpc": "4318", "http/protobuf": "4317"}[spoken]; u.Port() == other {
		log.Warn("probably the wrong port: OTLP over gRPC has 4317, over HTTP 4318", "endpoint", endpoint, "protocol", spoken)
	}
	return &attempts{log: log.With("what", what, "endpoint", endpoint)}, nil
}

func (a *attempts) ended(err error) {
	if err != nil && time.Since(a.logged) >= time.Minute {
		a.logged, a.away = time.Now(), true
		a.log.Warn("telemetry does not reach the back end; requests are answered all the same", "error", err)
	} else if err == nil && a.away {
		a.away = false
		a.log.Info("telemetry reaches the back end again")
	}
}

// intercept is one attempt to send spans.
func (a *attempts) intercept(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn,
	invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	err := invoke(ctx, method, request, reply, conn, options...)
	if err != nil && strings.Contains(err.Error(), "invalid UTF-8") {
		mend(request)
		err = invoke(ctx, method, request, reply, conn, options...)
	}
	a.ended(err)
	return err
}

// RoundTrip is one attempt to send log lines. Their exporter repeats it after a status of 503, but not when
// a connection is refused or a name is not known, or after a 500: so all these become a 503.
func (a *attempts) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := http.DefaultTransport.RoundTrip(req)
	if err == nil && (res.StatusCode < 200 || res.StatusCode >= 500) { // the body of a 101 is the bare connection, which no timeout ends
		res.Body.Close()
		err = errors.New(res.Status)
	}
	if a.ended(err); err != nil {
		res = &http.Response{StatusCode: http.StatusServiceUnavailable, Body: io.NopCloser(strings.NewReader(err.Error()))}
	}
	return res, nil
}

func valid(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

// mend mends all text of a message of protobuf, such as a batch of spans with its resource.
func mend(message any) {
	protorange.Range(message.(proto.Message).ProtoReflect(), func(path protopath.Values) error {
		last := path.Index(-1)
		if text, ok := last.Value.Interface().(string); ok && last.Step.Kind() == protopath.FieldAccessStep {
			path.Index(-2).Value.Message().Set(last.Step.FieldDescriptor(), protoreflect.ValueOfString(valid(text)))
		}
		return nil
	})
}

// mendedLines mends log lines on their way to a processor: their exporter has no place for mend.
type mendedLines struct{ sdklog.Processor }

func (p mendedLines) OnEmit(ctx context.Context, record *sdklog.Record) error {
	record.SetAttributes(mended(slices.Collect(record.WalkAttributes))...)
	return p.Processor.OnEmit(ctx, record)
}

// mended mends what a resource or a log line has: text, lists of text, which have no NUL, and groups, such as headers.
func mended(attributes []attribute.KeyValue) []attribute.KeyValue {
	for i, kv := range attributes {
		switch kv.Value.Type() {
		case attribute.STRING:
			kv.Value = attribute.StringValue(valid(kv.Value.AsString()))
		case attribute.STRINGSLICE:
			list := kv.Value.AsStringSlice()
			kv.Value = attribute.StringSliceValue(strings.Split(valid(strings.Join(list, "\x00")), "\x00")[:len(list)])
		case attribute.MAP:
			kv.Value = attribute.MapValue(mended(kv.Value.AsMap())...)
		}
		attributes[i] = attribute.KeyValue{Key: attribute.Key(valid(string(kv.Key))), Value: kv.Value}
	}
	return attributes
}
