package doctor

import (
	"cmp"
	"context"
	"fmt"
	"strings"
)

// targets names what Prometheus cannot scrape: a target that is not up, and a job without any, as when
// the name of its containers is gone.
func (e *examination) targets(ctx context.Context) outcome {
	pools, err := e.askJSON(ctx, prometheus, "/api/v1/scrape_pools")
	active, activeErr := e.askJSON(ctx, prometheus, "/api/v1/targets?state=active")
	if err := cmp.Or(err, activeErr); err != nil {
		return skipped("not known: Prometheus does not answer") // and has its own link
	}
	var down []string
	for _, job := range pools.Get("data.scrapePools").Array() {
		targets := active.Get(`data.activeTargets.#(scrapePool=="` + job.String() + `")#`)
		sick := targets.Get(`#(health=="down")#`).Array()
		if len(targets.Array()) == 0 {
			down = append(down, job.String()+" (nothing has this name)")
		}
		for _, target := range sick {
			down = append(down, fmt.Sprintf("%s (%s)", hostOf(target.Get("scrapeUrl").String()), target.Get("lastError")))
		}
	}
	if len(down) > 0 {
		return broken("not up: "+strings.Join(down, ", "), "target down").yet()
	}
	return fine("all are up")
}
