package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
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
	reconnect := grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: 5 * time.Second}
	reconnect.Backoff.MaxDelay = retry.MaxInterval // instead of gRPC's two minutes
	// Ask for the address with each connection. gRPC's own resolver remembers it, and waits up to
	// two minutes to ask again for a name that is gone, as that of a stopped container is.
	resolver.SetDefaultScheme("passthrough")
	attempts := &attempts{log: log.With("what", "spans", "endpoint", endpoint)}
	return otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(endpoint), otlptracegrpc.WithRetry(retry),
		otlptracegrpc.WithDialOption(grpc.WithConnectParams(reconnect), grpc.WithUnaryInterceptor(attempts.intercept)))
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
	exporter, err := otlploghttp.New(ctx, otlploghttp.WithRetry(otlploghttp.RetryConfig(retry)))
	if err != nil {
		return nil, err
	}
	provider := sdklog.NewLoggerProvider(sdklog.WithResource(res),
		sdklog.WithProcessor(mendedLines{sdklog.NewBatchProcessor(exporter)}))
	otel.SetLoggerProvider(provider)
	return provider.Shutdown, nil
}

// setUpSignal sets up metrics, traces or logs. Its stop sends what is left.
type setUpSignal func(context.Context, *resource.Resource, *slog.Logger) (stop func(context.Context) error, err error)

func stopNothing(context.Context) error { return nil }

// attempts logs, once a minute, that the back end is not reached, and when it is reached again.
type attempts struct {
	log    *slog.Logger
	away   bool      // and the log says so
	logged time.Time // when it was last logged that it is away
}

// intercept is one attempt to send a batch of spans. It has ten seconds.
func (a *attempts) intercept(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn,
	invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err := invoke(ctx, method, request, reply, conn, options...)
	if err != nil && strings.Contains(err.Error(), "invalid UTF-8") {
		mend(request)
		err = invoke(ctx, method, request, reply, conn, options...)
	}
	if err != nil && time.Since(a.logged) >= time.Minute {
		a.away, a.logged = true, time.Now()
		a.log.Warn("telemetry does not reach the back end; requests are answered all the same", "error", err)
	} else if err == nil && a.away {
		a.away = false
		a.log.Info("telemetry reaches the back end again")
	}
	return err
}
