package explorer

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"example.com/grafana-tempo-go-demo/demo/story"
	"example.com/grafana-tempo-go-demo/demo/tempo"
)

const (
	mapReaders = 8     // at a time
	mapSpans   = 2_000 // a trace of more is left out
)

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
	traces := make([]*story.Trace, len(found))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(mapReaders)
	for i, s := range found {
		g.Go(func() error {
			t, err := e.client().Trace(ctx, s.ID)
			if err == nil {
				traces[i] = story.Tell(t, story.Options{})
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
	traces = slices.DeleteFunc(traces, func(t *story.Trace) bool { return t == nil })
	answer(w, http.StatusOK, story.NewMap(traces, time.Now()))
}
