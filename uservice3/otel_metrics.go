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
	"go.opentelemetry.io/contrib/instrumentation/runtime"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/exemplar"
	"go.opentelemetry.io/otel/sdk/resource"
)

// durationBuckets, in seconds, tell a database that takes one second from one that takes two.
var durationBuckets = []float64{.005, .01, .025, .05, .1, .15, .2, .25, .5, .75, 1, 1.25, 1.5, 1.75, 2, 2.25, 2.5, 5, 10}

var dropped = sdkmetric.Stream{Aggregation: sdkmetric.AggregationDrop{}} // nobody asks for these, and they cost time

// setUpMetrics serves metrics at /metrics when OTEL_METRICS_EXPORTER is prometheus, on a port of
// their own that no proxy publishes.
func setUpMetrics(_ context.Context, res *resource.Resource, log *slog.Logger) (stop func(context.Context) error, err error) {
	if name := choice("OTEL_METRICS_EXPORTER", "none"); name == "none" {
		return stopNothing, nil
	} else if name != "prometheus" {
		return nil, fmt.Errorf("OTEL_METRICS_EXPORTER=%q: want prometheus or none", name)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})) // memory and open files
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry))
	if err != nil {
		return nil, fmt.Errorf("prometheus exporter: %w", err)
	}
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter), sdkmetric.WithResource(res), sdkmetric.WithView(
		sdkmetric.NewView(sdkmetric.Instrument{Name: "http.*.request.duration"}, requestDurations),
		sdkmetric.NewView(sdkmetric.Instrument{Name: "http.*.body.size"}, dropped),
		sdkmetric.NewView(sdkmetric.Instrument{Name: "otel.sdk.span.live"}, dropped)))
	otel.SetMeterProvider(provider)
	if err := runtime.Start(runtime.WithMeterProvider(provider)); err != nil {
		return nil, fmt.Errorf("runtime metrics: %w", err)
	}

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

// requestDurations leaves out what the caller names: with the Host header among the labels, a
// stranger could make a new time series with each request.
var requestDurations = sdkmetric.Stream{
	Aggregation:     sdkmetric.AggregationExplicitBucketHistogram{Boundaries: durationBuckets},
	AttributeFilter: attribute.NewDenyKeysFilter("server.address", "server.port", "network.protocol.version"),
	ExemplarReservoirProviderSelector: func(sdkmetric.Aggregation) exemplar.ReservoirProvider {
		return func(attribute.Set) exemplar.Reservoir {
			return shortReservoir{exemplar.NewHistogramReservoir(durationBuckets)}
		}
	},
}

// shortReservoir keeps exemplars without the attributes that the stream leaves out. With them most
// would be longer than the 128 characters that OpenMetrics allows, and be lost.
type shortReservoir struct{ exemplar.Reservoir }

func (r shortReservoir) Offer(ctx context.Context, t time.Time, value exemplar.Value, _ []attribute.KeyValue) {
	r.Reservoir.Offer(ctx, t, value, nil)
}
