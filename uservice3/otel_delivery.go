package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protopath"
	"google.golang.org/protobuf/reflect/protorange"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// This file sees to it that spans and log lines arrive: they wait for a back end that is away, and text that
// is not UTF-8 is replaced. The SDK lets that pass, and one such byte in a header or an environment variable
// would lose a whole batch. Mending requests as they come in would not do, because a query has to travel on as
// it is. A reader may skip this file.

// retry waits briefly, so that telemetry flows again within seconds of the back end's return. How long a
// batch is tried at most is up to OTEL_EXPORTER_OTLP_TIMEOUT, OTEL_BSP_EXPORT_TIMEOUT and OTEL_BLRP_EXPORT_TIMEOUT.
var retry = otlptracegrpc.RetryConfig{
	Enabled: true, InitialInterval: 250 * time.Millisecond, MaxInterval: time.Second, MaxElapsedTime: time.Hour,
}

const attemptTimeout = 10 * time.Second // bounds one attempt to send a batch

// attempts logs, once a minute at most, that the back end is not reached, and when it is reached again.
type attempts struct {
	log    *slog.Logger
	logged time.Time // that it is away
	away   bool
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
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
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

// mended mends what a resource or a log line has: text, lists of text, and groups, such as headers.
func mended(attributes []attribute.KeyValue) []attribute.KeyValue {
	for i, kv := range attributes {
		switch kv.Value.Type() {
		case attribute.STRING:
			kv.Value = attribute.StringValue(valid(kv.Value.AsString()))
		case attribute.STRINGSLICE:
			const between = "\x00" // which no argument of a process contains
			kv.Value = attribute.StringSliceValue(strings.Split(valid(strings.Join(kv.Value.AsStringSlice(), between)), between))
		case attribute.MAP:
			kv.Value = attribute.MapValue(mended(kv.Value.AsMap())...)
		}
		attributes[i] = attribute.KeyValue{Key: attribute.Key(valid(string(kv.Key))), Value: kv.Value}
	}
	return attributes
}
