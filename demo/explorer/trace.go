package explorer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"example.com/grafana-tempo-go-demo/demo/header"
	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/story"
	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/demo/traceid"
)

// shown is the answer of GET /api/trace/{id}. Either Trace or Absent is there.
type shown struct {
	Trace  *story.Trace  `json:"trace"`
	Absent *story.Absent `json:"absent"`
	// Requests are the newest of those of the ledger that had to do with the trace, of Total; nil if
	// nobody keeps one.
	Requests []story.Request `json:"requests"`
	Total    int             `json:"total"`
	// SampledMeans stands beside them.
	SampledMeans string `json:"sampled_means"`
	// Twin stands beside a trace that an instrumented one would explain, once no more is expected of it.
	Twin *story.Twin `json:"twin"`
	// Logs are nil where nobody was asked.
	Logs *logs `json:"logs"`
	// Settled reports whether asking again would tell nothing new.
	Settled bool `json:"settled"`
}

// hops answers GET /api/ledger?trace=<id> with a ledger.Answer.
func (e *explorer) hops(w http.ResponseWriter, r *http.Request) {
	found, err := e.Ledger.Answer(r.FormValue("trace"))
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	answer(w, http.StatusOK, found)
}

// trace answers GET /api/trace/{id} with what is known of a trace. The parameter waited says for how
// many milliseconds somebody has been asking for it, and unsampled that its flag is known to be 0.
func (e *explorer) trace(w http.ResponseWriter, r *http.Request) {
	id, err := traceid.Trace(r.PathValue("id"))
	if err != nil { // not a 400: a browser's console lists it as a failure
		answer(w, http.StatusOK, shown{Absent: new(story.NotAnID(r.PathValue("id"))), Settled: true})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), tempoTimeout)
	defer cancel()
	t, requests, total, err := e.tell(ctx, id)
	if err != nil && !errors.Is(err, tempo.ErrNotFound) {
		e.failStore(w, r, err)
		return
	}
	hiding := e.hiding()
	if hiding {
		holdBack(t, requests)
	}
	got := shown{Trace: t, Requests: story.Hops(requests, id, t), Total: total, SampledMeans: story.SampledMeans, Logs: e.logs(ctx, id, t)}
	if err != nil {
		query := r.URL.Query()
		waited, _ := strconv.ParseInt(query.Get("waited"), 10, 64) // without one, the wait begins
		absent := story.Missing(id, e.Ledger != nil, requests, query.Has("unsampled"), time.Duration(waited)*time.Millisecond)
		if hiding && absent.Title != "" {
			absent.Title, absent.Texts = "This trace is not here", []string{"No span of it is in the trace store.", id}
		}
		got.Absent, got.Settled = &absent, absent.Settled
	} else {
		got.Settled = t.Settled
	}
	if with := r.FormValue("with"); t != nil && with != "" {
		if other, _, _, err := e.tell(ctx, with); err == nil {
			got.Twin = new(t.With(other))
		} else {
			got.Twin = &story.Twin{Title: "Nothing to compare with", Text: "The other trace is not here, or not yet: " + with + "."}
		}
	} else if t != nil && t.Settled && t.Plain != nil {
		if other, err := e.explaining(ctx, t); err != nil {
			e.unheard(err)
			got.Settled = false // the page asks again
		} else {
			got.Twin = new(t.Beside(other))
		}
	}
	got.Settled = got.Settled && !got.Logs.retry
	answer(w, http.StatusOK, got)
}

// holdBack leaves out what a trace and its requests say of a cut or of missing spans, and of what a header is
// worth. T may be nil. The headers are the ledger's own: they are copied.
func holdBack(t *story.Trace, requests []ledger.Request) {
	if t != nil {
		t.Notes = slices.DeleteFunc(t.Notes, func(n story.Note) bool { return n.Title != "" })
	}
	blind := func(headers []header.Header) []header.Header {
		headers = slices.Clone(headers)
		for i := range headers {
			headers[i].Problem, headers[i].Sampled = "", nil
		}
		return headers
	}
	for i := range requests {
		requests[i].Outcome = ledger.Unknown
		requests[i].Summary = "Nothing is concluded here while a fault is hidden: reload the page once it is found."
		for j := range requests[i].Hops {
			hop := &requests[i].Hops[j]
			hop.Says, hop.Action, hop.Left, hop.Arrived = "", "", blind(hop.Left), blind(hop.Arrived)
			if hop.TraceResponse != nil {
				hop.TraceResponse = &blind([]header.Header{*hop.TraceResponse})[0]
			}
		}
	}
}

// maxRequests is how many requests are drawn beside a trace.
const maxRequests = 10

// tell reads a trace and explains it. The requests are known also of a trace that is not found: the
// newest of total.
func (e *explorer) tell(ctx context.Context, id string) (told *story.Trace, requests []ledger.Request, total int, err error) {
	if e.Ledger != nil {
		if requests, total, err = e.Ledger.Trace(id, maxRequests); err != nil {
			return nil, nil, 0, err
		}
	}
	t, err := e.client().Trace(ctx, id)
	if err != nil {
		return nil, requests, total, err
	}
	return story.Tell(t, story.Options{Requests: requests, Now: time.Now()}), requests, total, nil
}

const (
	twinsFound = 50 // at most, in the minutes around a request
	twinsRead  = 8  // of them, the nearest
)

// explaining finds the nearest trace that explains a plain one; nil if there is none.
func (e *explorer) explaining(ctx context.Context, plain *story.Trace) (*story.Trace, error) {
	if plain.Plain.Query == nil {
		return nil, nil
	}
	around := story.CompareWithin + time.Second
	found, err := e.client().Summaries(ctx, url.Values{
		"q": {askedFor(plain.Plain.Twin)}, "limit": {fmt.Sprint(twinsFound)},
		"start": {fmt.Sprint(plain.StartedAt.Add(-around).Unix())}, "end": {fmt.Sprint(plain.StartedAt.Add(around).Unix())},
	})
	if err != nil {
		return nil, err
	}
	apart := func(s tempo.Summary) time.Duration { return s.Start.Sub(plain.StartedAt).Abs() }
	slices.SortFunc(found, func(a, b tempo.Summary) int { return cmp.Compare(apart(a), apart(b)) })
	for _, s := range found[:min(len(found), twinsRead)] {
		if other, _, _, err := e.tell(ctx, s.ID); err == nil && other.Explains(plain) {
			return other, nil
		}
	}
	return nil, nil
}
