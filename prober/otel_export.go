package main

import (
	"context"
	"log/slog"
	"net/http"
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

// newSpanExporter sends spans over gRPC. It does not connect yet: the back end may start later.
func newSpanExporter(ctx context.Context, log *slog.Logger) (sdktrace.SpanExporter, error) {
	endpoint := env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4317"))
	attempts, err := newAttempts("spans", "TRACES", "grpc", endpoint, log)
	if err != nil {
		return nil, err
	}
	reconnect := grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: 5 * time.Second}
	reconnect.Backoff.MaxDelay = retry.MaxInterval // instead of gRPC's two minutes
	// Ask for the address with each connection. gRPC's own resolver remembers it, and waits up to
	// two minutes to ask again for a name that is gone, as that of a stopped container is.
	resolver.SetDefaultScheme("passthrough")
	return otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(endpoint), otlptracegrpc.WithRetry(retry),
		// One attempt takes ten seconds at most.
		otlptracegrpc.WithServiceConfig(`{"methodConfig": [{"name": [{}], "timeout": "10s"}]}`),
		// Otherwise each batch is walked through once more, to measure it.
		otlptracegrpc.WithMaxRequestSize(0),
		otlptracegrpc.WithDialOption(grpc.WithConnectParams(reconnect), grpc.WithUnaryInterceptor(attempts.intercept)))
}

// setUpLogs sends log lines to OTEL_EXPORTER_OTLP_LOGS_ENDPOINT too, over HTTP, when it is set.
func setUpLogs(ctx context.Context, res *resource.Resource, log *slog.Logger) (stop func(context.Context) error, err error) {
	endpoint := env("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "")
	if endpoint == "" || env("OTEL_LOGS_EXPORTER", "otlp") == "none" {
		return stopNothing, nil
	}
	attempts, err := newAttempts("log lines", "LOGS", "http/protobuf", endpoint, log)
	if err != nil {
		return nil, err
	}
	exporter, err := otlploghttp.New(ctx, otlploghttp.WithRetry(otlploghttp.RetryConfig(retry)),
		otlploghttp.WithHTTPClient(&http.Client{Transport: attempts, Timeout: 10 * time.Second}))
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
