package doctor

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// patience is how long the spans of one request may take; then another is sent. A request that was under
// way while the probes were set has no spans, or not all.
const patience = 8 * time.Second

// outside calls uservice1, and looks for the spans that the eBPF instrumentation makes of it and of
// uservice2.
func (e *examination) outside(ctx context.Context) outcome {
	if time.Since(e.plainAsked) > patience {
		e.plainAsked = time.Now()
		switch res, err := e.call(ctx, topology.Uservice1); {
		case err != nil:
			return e.unreachable(topology.Gateway, err)
		case res.status != http.StatusOK:
			return broken(fmt.Sprintf("uservice1 answered %d", res.status), "plain pair fails")
		}
	}
	ids, err := e.find(ctx, `{resource.telemetry.distro.name="`+tempo.OutsideDistro+`"}`, e.plainAsked)
	if err != nil {
		return broken(err.Error(), "in trouble").yet()
	}
	var services []string
	for _, id := range ids {
		if t, err := e.backend.Trace(ctx, id); err == nil {
			for _, s := range t.Spans {
				if s.Outside() && s.Kind == "server" {
					services = append(services, s.Service)
				}
			}
		}
	}
	lacking := slices.DeleteFunc([]string{topology.Uservice1, topology.Uservice2}, func(name string) bool {
		return slices.Contains(services, name)
	})
	if len(lacking) > 0 {
		return broken("the kernel made no server span of "+strings.Join(lacking, " and "), "ebpf not running",
			"ebpf lacks rights", "ebpf cannot export").yet()
	}
	return fine("the kernel made server spans of uservice1 and uservice2")
}
