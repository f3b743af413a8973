package explorer

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"

	"example.com/grafana-tempo-go-demo/demo/header"
	"example.com/grafana-tempo-go-demo/demo/topology"
	"example.com/grafana-tempo-go-demo/demo/visit"
)

// maxCalls is how many calls may be in flight; the page has a button, not a load generator.
const maxCalls = 64

// callResult is the answer of POST /api/call: what an outsider can know of one request.
type callResult struct {
	visit.Answer
	StatusText string `json:"status_text"`
	// TraceID is from the answer's traceresponse header; empty when there is none, which is how the
	// plain services answer. Their trace, which ends at the gateway, can be searched by the tag
	// user_agent.original.
	TraceID   string `json:"trace_id"`
	UserAgent string `json:"user_agent"`
	// Sampled is the flag of the same header: without it, no span of the service will arrive
	// anywhere.
	Sampled bool `json:"sampled"`
}

// call sends one request through the gateway. Its User-Agent is unlike any other: both Traefik and
// the demo's gateway record it on their server span, so the trace can be found even when no service
// tells its id.
func (e *explorer) call(w http.ResponseWriter, r *http.Request) {
	var wish visit.Request
	if !readJSON(w, r, &wish) {
		return
	}
	var names []string
	for _, s := range services() {
		names = append(names, s.Name)
	}
	switch dependencies := []string{"", "redis", "database"}; {
	case !slices.Contains(names, wish.Service):
		fail(w, http.StatusBadRequest, "There is no such service. There are: "+strings.Join(names, ", ")+".")
		return
	case !slices.Contains(dependencies, wish.Fail) || !slices.Contains(dependencies, wish.Slow):
		fail(w, http.StatusBadRequest, "fail and slow take redis or database, or nothing.")
		return
	}
	select {
	case e.calls <- struct{}{}:
		defer func() { <-e.calls }()
	default:
		fail(w, http.StatusTooManyRequests,
			fmt.Sprintf("%d calls are under way. Wait for an answer, or use a load generator for more.", maxCalls))
		return
	}
	userAgent := fmt.Sprintf("demo-explorer/%016x", rand.Uint64())
	got, err := visit.Get(r.Context(), e.backends, e.Gateway, wish, userAgent)
	if err != nil {
		e.failUnanswered(w, r, "gateway", e.Gateway, err)
		return
	}
	own := header.Decode(header.TraceResponse, got.TraceResponse)
	if e.Faults != nil && wish.Service == topology.Uservice3 { // whose call passes every place of a fault
		e.Faults.Saw(own.TraceID)
	}
	answer(w, http.StatusOK, callResult{
		Answer:     *got,
		StatusText: http.StatusText(got.Status),
		TraceID:    own.TraceID,
		UserAgent:  userAgent,
		Sampled:    own.Sampled != nil && *own.Sampled,
	})
}
