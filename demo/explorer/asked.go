package explorer

import (
	"context"
	"slices"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/story"
	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// maxAsked is how many of the newest requests are looked through for what they asked for.
const maxAsked = 10 * maxListed

// wishes are what the requests of traces, the newest first, asked for: as the ledger has it, or else as
// the gateway's span has, for which the store is asked. A gateway hides the values of a query.
func (e *explorer) wishes(ctx context.Context, traces []tempo.Summary) map[string]story.Wish {
	wishes := map[string]story.Wish{}
	if e.Ledger != nil {
		for _, r := range slices.Backward(e.Ledger.Recent(maxAsked)) {
			for _, id := range r.Traces {
				wishes[id] = story.NewWish(r.Host, r.Path, r.Query)
			}
		}
	}
	known := func(s tempo.Summary) bool { _, ok := wishes[s.ID]; return ok }
	unknown := slices.DeleteFunc(slices.Clone(traces), known)
	if len(unknown) == 0 {
		return wishes
	}
	found, err := e.newest(ctx, unknown[len(unknown)-1].Start.Add(-time.Second), 2*maxListed,
		askedFor(services()...)+" | select(span.server.address, span.url.path, span.url.query)")
	if err != nil {
		e.unheard(err) // the next list asks again
	}
	for _, s := range slices.DeleteFunc(found, known) {
		wishes[s.ID] = story.NewWish(s.Selected["server.address"], s.Selected["url.path"], s.Selected["url.query"])
	}
	return wishes
}

// askedFor finds the traces of requests for services of the demo. Traefik writes the host name with its port.
func askedFor(services ...string) string {
	return `{span.server.address=~"(` + strings.Join(services, "|") + `)` + topology.Host("") + `(:.*)?"}`
}
