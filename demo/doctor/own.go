package doctor

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// ownSpans looks for the spans that Prometheus and Loki make of themselves with SELF_TRACING=true.
// Each gets a question with a sampled traceparent, which it obeys: no span means no tracing. Grafana
// is left out, as it samples some of its requests whatever it is sent.
func (v *visit) ownSpans(ctx context.Context) outcome {
	asked := []struct{ part, path string }{{prometheus, "/api/v1/query?query=1"}, {loki, "/loki/api/v1/labels"}}
	if v.own == "" {
		v.own = fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64()|1)
		for _, a := range asked {
			_, _ = get(ctx, v.http, askTimeout, v.o.URLs[a.part]+a.path, "", "traceparent", "00-"+v.own+"-00000000000000ff-01")
		}
	}
	trace, err := v.backend.Trace(ctx, v.own)
	if err != nil && !errors.Is(err, tempo.ErrNotFound) {
		return v.unreachable(topology.Tempo, err)
	}
	var have, lack []string
	for _, a := range asked {
		switch {
		case v.down[a.part] || v.o.URLs[a.part] == "":
		case trace != nil && slices.ContainsFunc(trace.Spans, func(s *tempo.Span) bool { return strings.HasPrefix(s.Service, a.part) }):
			have = append(have, v.o.title(a.part))
		default:
			lack = append(lack, v.o.title(a.part))
		}
	}
	if len(lack) == 0 {
		return fine("of %s", strings.Join(have, " and "))
	}
	return missing(strings.Join(lack, " and "), v.noOwnSpans)
}

// noOwnSpans knows of the Loki that cannot trace itself.
func (v *visit) noOwnSpans(ctx context.Context, lacking string) outcome {
	build, _ := v.askJSON(ctx, loki, "/loki/api/v1/status/buildinfo", nil)
	version := build.Get("version").String()
	if lacking == v.o.title(loki) && strings.HasPrefix(version, "3.7.") {
		return fine("of Prometheus; Loki %s cannot make any (grafana/loki issue 21588)", version)
	}
	return broken(lacking+" made none when asked to", "no own spans").with(lacking)
}
