package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/resolver"
)

// retry waits briefly, so that telemetry flows again within seconds of the back end's return. How
// long a batch is tried at most is up to OTEL_EXPORTER_OTLP_TIMEOUT and OTEL_BSP_EXPORT_TIMEOUT.
var retry = otlptracegrpc.RetryConfig{
	Enabled: true, InitialInterval: 250 * time.Millisecond, MaxInterval: time.Second, MaxElapsedTime: time.Hour,
}

// newSpanExporter sends spans over gRPC. It does not connect yet: the back end may start later.
func newSpanExporter(ctx context.Context, log *slog.Logger) (sdktrace.SpanExporter, error) {
	endpoint := env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4317"))
	if err := checkOTLP("TRACES", "grpc", endpoint, log); err != nil {
		return nil, err
	}
	e := &exporter[sdktrace.ReadOnlySpan]{valid: validSpan, log: log.With("what", "spans", "endpoint", endpoint)}
	reconnect := grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: 5 * time.Second}
	reconnect.Backoff.MaxDelay = retry.MaxInterval // instead of gRPC's two minutes
	// Ask for the address with each connection. gRPC's own resolver remembers it, and waits up to
	// two minutes to ask again for a name that is gone, as that of a stopped container is.
	resolver.SetDefaultScheme("passthrough")
	otlp, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(endpoint), otlptracegrpc.WithRetry(retry),
		otlptracegrpc.WithDialOption(grpc.WithConnectParams(reconnect), grpc.WithUnaryInterceptor(e.attempt)))
	if err != nil {
		return nil, fmt.Errorf("OTLP exporter to %s: %w", endpoint, err)
	}
	e.send, e.stop = otlp.ExportSpans, otlp.Shutdown
	return e, nil
}

// setUpLogs sends log lines to OTEL_EXPORTER_OTLP_LOGS_ENDPOINT too, over HTTP, when it is set.
func setUpLogs(ctx context.Context, res *resource.Resource, log *slog.Logger) (stop func(context.Context) error, err error) {
	endpoint := env("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "")
	if name := choice("OTEL_LOGS_EXPORTER", "otlp"); name != "otlp" && name != "none" {
		return nil, fmt.Errorf("OTEL_LOGS_EXPORTER=%q: want otlp or none", name)
	} else if name == "none" || endpoint == "" {
		return stopNothing, nil
	}
	if err := checkOTLP("LOGS", "http/protobuf", endpoint, log); err != nil {
		return nil, err
	}
	otlp, err := otlploghttp.New(ctx, otlploghttp.WithRetry(otlploghttp.RetryConfig(retry)))
	if err != nil {
		return nil, fmt.Errorf("OTLP exporter to %s: %w", endpoint, err)
	}
	provider := sdklog.NewLoggerProvider(sdklog.WithResource(res), sdklog.WithProcessor(sdklog.NewBatchProcessor(
		&exporter[sdklog.Record]{send: otlp.Export, valid: validRecord, stop: otlp.Shutdown,
			log: log.With("what", "log lines", "endpoint", endpoint)})))
	otel.SetLoggerProvider(provider)
	return provider.Shutdown, nil
}

// setUpSignal sets up metrics, traces or logs. Its stop sends what is left.
type setUpSignal func(context.Context, *resource.Resource, *slog.Logger) (stop func(context.Context) error, err error)

func stopNothing(context.Context) error { return nil }

// exporter exports spans or log records, one batch at a time. It logs what does not get through.
type exporter[T any] struct {
	send  func(context.Context, []T) error
	valid func(T) T // mends text that is not UTF-8
	stop  func(context.Context) error
	log   *slog.Logger

	givenUp int       // since the back end was last reached, besides what found the queue full
	away    bool      // and the log says so
	logged  time.Time // when it was last logged that it is away
}

func (e *exporter[T]) ExportSpans(ctx context.Context, spans []T) error { return e.Export(ctx, spans) }
func (e *exporter[T]) ForceFlush(context.Context) error                 { return nil }
func (e *exporter[T]) Shutdown(ctx context.Context) error               { return e.stop(ctx) }

// Export tries until the batch is sent, or until one of the timeouts ends.
func (e *exporter[T]) Export(ctx context.Context, batch []T) error {
	err := e.send(ctx, batch)
	// Over HTTP, the SDK does not try again where nobody listens, or where the name is gone.
	for unreached := (*url.Error)(nil); errors.As(err, &unreached) && ctx.Err() == nil; err = e.send(ctx, batch) {
		e.failed(0, err)
		select {
		case <-time.After(retry.InitialInterval):
		case <-ctx.Done():
		}
	}
	if notUTF8(err) {
		for i := range batch {
			batch[i] = e.valid(batch[i])
		}
		err = e.send(ctx, batch)
	}
	if err != nil {
		e.failed(len(batch), err)
	} else if e.away || e.givenUp > 0 {
		e.log.Info("telemetry reaches the back end again", "given_up", e.givenUp)
		e.givenUp, e.away = 0, false
	}
	return nil
}

// attempt is one of the tries that Export takes for a batch of spans. It has ten seconds.
func (e *exporter[T]) attempt(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn,
	invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err := invoke(ctx, method, request, reply, conn, options...)
	if err != nil && !notUTF8(err) {
		e.failed(0, err)
	}
	return err
}

// failed logs, once a minute, that the back end was not reached.
func (e *exporter[T]) failed(givenUp int, err error) {
	e.givenUp += givenUp
	if time.Since(e.logged) >= time.Minute {
		e.logged, e.away = time.Now(), true
		e.log.Warn("telemetry does not reach the back end; requests are answered all the same",
			"given_up", e.givenUp, "error", err)
	}
}
