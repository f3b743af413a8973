package stack

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/contrib/propagators/jaeger"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protopath"
	"google.golang.org/protobuf/reflect/protorange"
	"google.golang.org/protobuf/reflect/protoreflect"

	"example.com/grafana-tempo-go-demo/demo/gateway"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// startGateway lets requests in: from its first answer on, all behind it is ready. Its spans go to the
// collector.
func (s *Stack) startGateway(ctx context.Context) error {
	log := s.output.logger(topology.Gateway)
	exporter, err := otlptracegrpc.New(ctx,
		otlptracegrpc.WithEndpointURL(s.url(topology.OTLPGRPC).String()),
		otlptracegrpc.WithDialOption(grpc.WithUnaryInterceptor(mending)))
	if err != nil {
		return fmt.Errorf("gateway's exporter: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("telemetry", "error", err.Error()) }))
	// A resource that could not be detected completely is used as far as it goes.
	res, err := resource.New(ctx, resource.WithHost(), resource.WithOS(), resource.WithProcess(), resource.WithTelemetrySDK(),
		resource.WithAttributes(semconv.ServiceName(topology.Gateway)))
	if err != nil {
		log.Warn("incomplete resource", "error", err.Error())
	}
	s.provider = sdktrace.NewTracerProvider(
		sdktrace.WithResource(res),
		sdktrace.WithSampler(sampler{sdktrace.ParentBased(sdktrace.AlwaysSample()), s}),
		// As the services: complete within a quarter of a second, and nothing lost under load.
		sdktrace.WithBatcher(exporter, sdktrace.WithBatchTimeout(200*time.Millisecond),
			sdktrace.WithMaxQueueSize(8192), sdktrace.WithMaxExportBatchSize(2048)),
	)
	routes := map[string]*url.URL{}
	for _, svc := range s.services {
		routes[svc.Host()] = httpURL(svc.addr)
	}
	s.gateway = gateway.New(gateway.Options{
		Routes:         routes,
		TracerProvider: s.provider,
		Propagator:     s.propagator,
		Logger:         log,
		Record:         s.ledger.AddProxy,
		Tamper:         s.tamper,
	})
	s.serve(topology.Gateway, http.HandlerFunc(s.guard))
	return nil
}

// mending sends a batch of spans. One byte that is not UTF-8, of a client or in the name of the program's
// folder, would lose it.
func mending(ctx context.Context, method string, batch, reply any, conn *grpc.ClientConn,
	invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	err := invoke(ctx, method, batch, reply, conn, options...)
	if err == nil || !strings.Contains(err.Error(), "invalid UTF-8") {
		return err
	}
	_ = protorange.Range(batch.(proto.Message).ProtoReflect(), func(path protopath.Values) error {
		last := path.Index(-1)
		if text, ok := last.Value.Interface().(string); ok && last.Step.Kind() == protopath.FieldAccessStep {
			mended := protoreflect.ValueOfString(strings.ToValidUTF8(text, "\uFFFD"))
			path.Index(-2).Value.Message().Set(last.Step.FieldDescriptor(), mended)
		}
		return nil
	})
	return invoke(ctx, method, batch, reply, conn, options...)
}

// sampler samples nothing while the active fault wants that.
type sampler struct {
	sdktrace.Sampler
	*Stack
}

func (s sampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	if s.fault.Load().Gateway == "sample nothing" {
		return sdktrace.NeverSample().ShouldSample(p)
	}
	return s.Sampler.ShouldSample(p)
}

// propagators are those that the services know too.
var propagators = map[string]propagation.TextMapPropagator{
	"jaeger": jaeger.Jaeger{}, "tracecontext": propagation.TraceContext{}, "baggage": propagation.Baggage{},
}

// gatewayPropagator reads a list such as tracecontext,jaeger, or none. Whatever sets it is as OTEL_PROPAGATORS.
func gatewayPropagator(list string) (propagation.TextMapPropagator, error) {
	list = strings.ToLower(cmp.Or(strings.TrimSpace(list), "jaeger"))
	if list == "none" {
		return propagation.NewCompositeTextMapPropagator(), nil
	}
	var all []propagation.TextMapPropagator
	for name := range strings.SplitSeq(list, ",") {
		p, ok := propagators[strings.TrimSpace(name)]
		if !ok {
			return nil, fmt.Errorf("OTEL_PROPAGATORS=%s of the gateway: want a list of jaeger, tracecontext and baggage, or none alone", list)
		}
		all = append(all, p)
	}
	return propagation.NewCompositeTextMapPropagator(all...), nil
}
