package explorer

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"example.com/grafana-tempo-go-demo/demo/story"
	"example.com/grafana-tempo-go-demo/demo/tempo"
)

const (
	mapReaders = 8                // at a time
	mapSpans   = 2_000            // a trace of more is left out
	mapSettled = 10 * time.Second // after its end, a trace whose summary stays is not read again
)

// mapped is a trace that the map has read, by what the search said of it.
type mapped struct {
	summary tempo.Summary
	trace   *story.Trace // nil if it was gone
}

// callMap answers GET /api/map with who calls whom in the traces that a list has.
func (e *explorer) callMap(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), listTimeout)
	defer cancel()
	found, err := e.newest(ctx, time.Now().Add(-listedFor), maxListed, filter{}.queries()...)
	if err != nil {
		e.failStore(w, r, err)
		return
	}
	found = slices.DeleteFunc(found, func(s tempo.Summary) bool { return story.List(s, story.Wish{}).Spans > mapSpans })
	known, read := e.mapped.Load(), make([]mapped, len(found))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(mapReaders)
	for i, s := range found {
		if known != nil && time.Since(s.Start.Add(s.Duration)) > mapSettled {
			if k := slices.IndexFunc(*known, func(m mapped) bool { return reflect.DeepEqual(m.summary, s) }); k >= 0 {
				read[i] = (*known)[k]
				continue
			}
		}
		g.Go(func() error {
			t, err := e.client().Trace(ctx, s.ID)
			if err == nil {
				read[i] = mapped{s, story.Tell(t, story.Options{})}
			} else if !errors.Is(err, tempo.ErrNotFound) { // it may be gone by now
				return err
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		e.failStore(w, r, err)
		return
	}
	e.mapped.Store(&read)
	var traces []*story.Trace
	for _, m := range read {
		if m.trace != nil {
			traces = append(traces, m.trace)
		}
	}
	answer(w, http.StatusOK, story.NewMap(traces, time.Now()))
}
