package explorer

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/header"
	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/story"
	"example.com/grafana-tempo-go-demo/demo/topology"
	"example.com/grafana-tempo-go-demo/demo/visit"
)

// maxCalls is how many calls may be in flight; the page has a button, not a load generator.
const maxCalls = 64

// calledWithin is how long ago a call may be whose trace is looked for.
const calledWithin = 2 * time.Minute

// callResult is the answer of POST /api/call: what an outsider can know of one request.
type callResult struct {
	visit.Answer
	Duration   string `json:"duration"` // DurationMS in words
	StatusText string `json:"status_text"`
	// TraceID is from the answer's traceresponse header; empty when there is none, which is how the
	// plain services answer. Their trace, which ends at the gateway, is found by UserAgent.
	TraceID   string `json:"trace_id"`
	UserAgent string `json:"user_agent"`
	// Sampled is the flag of the same header: without it, no span of the service will arrive
	// anywhere. It is true while a fault is hidden, which might be that.
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
	switch names, dependencies := services(), []string{"", "redis", "database"}; {
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
	got, err := visit.Get(r.Context(), e.backends, e.Gateway.String(), wish, userAgent)
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
		Duration:   story.Time(got.DurationMS * float64(time.Millisecond)).String(),
		StatusText: http.StatusText(got.Status),
		TraceID:    own.TraceID,
		UserAgent:  userAgent,
		Sampled:    own.Sampled != nil && *own.Sampled || e.hiding(),
	})
}

// found is the answer of GET /api/called: the trace of a call, if it is found.
type found struct {
	ID      string `json:"id"`
	Sampled bool   `json:"sampled"`
}

// called answers GET /api/called?agent=... with the trace of the call that had this User-Agent. Of one
// that is not sampled only the ledger knows.
func (e *explorer) called(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), tempoTimeout)
	defer cancel()
	agent := r.URL.Query().Get("agent")
	newest, err := e.newest(ctx, time.Now().Add(-calledWithin), 1, fmt.Sprintf("{span.user_agent.original=%q}", agent))
	if err != nil {
		e.failStore(w, r, err)
		return
	}
	if len(newest) > 0 {
		answer(w, http.StatusOK, found{newest[0].ID, true})
		return
	}
	if e.Ledger != nil {
		for _, request := range e.Ledger.Recent(ledger.DefaultLimit) {
			if request.Agent == agent && len(request.Hops) > 0 && story.Unsampled(request) {
				answer(w, http.StatusOK, found{request.Hops[0].TraceID, e.hiding()})
				return
			}
		}
	}
	answer(w, http.StatusOK, found{})
}
