package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
)

// requestDurations has buckets, in seconds, that tell a database that takes one second from one that takes two.
var requestDurations = sdkmetric.Stream{Aggregation: sdkmetric.AggregationExplicitBucketHistogram{
	Boundaries: []float64{.005, .01, .025, .05, .1, .15, .2, .25, .5, .75, 1, 1.25, 1.5, 1.75, 2, 2.25, 2.5, 5, 10}}}

var dropped = sdkmetric.Stream{Aggregation: sdkmetric.AggregationDrop{}} // nobody asks for these, and they cost time

// setUpMetrics serves metrics at /metrics when OTEL_METRICS_EXPORTER is prometheus, on a port of
// their own that no proxy publishes.
func setUpMetrics(_ context.Context, res *resource.Resource, log *slog.Logger) (stop func(context.Context) error, err error) {
	if env("OTEL_METRICS_EXPORTER", "none") == "none" {
		return stopNothing, nil
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry))
	if err != nil {
		return nil, fmt.Errorf("prometheus exporter: %w", err)
	}
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter), sdkmetric.WithResource(res), sdkmetric.WithView(
		sdkmetric.NewView(sdkmetric.Instrument{Name: "http.*.request.duration"}, requestDurations),
		sdkmetric.NewView(sdkmetric.Instrument{Name: "http.*.body.size"}, dropped),
		sdkmetric.NewView(sdkmetric.Instrument{Name: "otel.sdk.span.live"}, dropped)))
	otel.SetMeterProvider(provider)
	listener, err := net.Listen("tcp", net.JoinHostPort(
		strings.Trim(env("OTEL_EXPORTER_PROMETHEUS_HOST", "localhost"), "[]"), env("OTEL_EXPORTER_PROMETHEUS_PORT", "9464")))
	if err != nil {
		err = fmt.Errorf("metrics: %w: choose another address with OTEL_EXPORTER_PROMETHEUS_HOST and _PORT", err)
		return nil, errors.Join(err, provider.Shutdown(context.Background()))
	}
	mux := http.NewServeMux()
	// Exemplars exist in the OpenMetrics format only.
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	server := &http.Server{Handler: mux, ReadTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	go server.Serve(listener) // until it is closed
	log.Info("serving metrics", "addr", listener.Addr().String())
	return func(ctx context.Context) error { return errors.Join(server.Close(), provider.Shutdown(ctx)) }, nil
}
