package stack

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.opentelemetry.io/contrib/propagators/jaeger"
	"go.opentelemetry.io/otel/propagation"
)

// checkPropagators says what is wrong with Options.Propagators as far as it can be known here: a service judges its own.
func checkPropagators(o Options) error {
	for _, part := range slices.Sorted(maps.Keys(o.Propagators)) {
		known := part == "gateway" || slices.ContainsFunc(o.Services, func(s Service) bool { return s.Instrumented && s.Name == part })
		if !known {
			return fmt.Errorf("propagators of %q: only the gateway and the instrumented services have any", part)
		}
	}
	_, err := propagatorOf(o.Propagators["gateway"])
	return err
}

// propagatorOf makes the gateway's propagator from a list such as tracecontext,jaeger, as OTEL_PROPAGATORS has it. The
// services use autoprop for that, which knows more; these are what the demo is about.
func propagatorOf(list string) (propagation.TextMapPropagator, error) {
	var all []propagation.TextMapPropagator
	for name := range strings.SplitSeq(cmp.Or(list, "jaeger"), ",") {
		switch name = strings.TrimSpace(name); name {
		case "jaeger":
			all = append(all, jaeger.Jaeger{})
		case "tracecontext":
			all = append(all, propagation.TraceContext{})
		case "baggage":
			all = append(all, propagation.Baggage{})
		case "none", "":
		default:
			return nil, fmt.Errorf("propagators of the gateway: there is no %q: there are jaeger, tracecontext, baggage and none", name)
		}
	}
	return propagation.NewCompositeTextMapPropagator(all...), nil
}
