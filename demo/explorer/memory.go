package explorer

import (
	"cmp"
	"context"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"example.com/grafana-tempo-go-demo/demo/story"
	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

const (
	// maxKnown bounds the traces of which something is kept. All of it can be learned again.
	maxKnown = 5000
	// keptFor is how long a trace that was read stays after a search has found it: another search may
	// not find it yet.
	keptFor = 15 * time.Second
)

// memory is what lists know of traces beside their summaries, by trace id.
type memory struct {
	mu  sync.Mutex
	all map[string]known
}

type known struct {
	asked    string        // the service that the request was for, if anything says so
	received []string      // services that received it, as the ledger has it
	settled  bool          // no more will be learned
	read     tempo.Summary // of a trace that was read by its id
	at       time.Time     // when it was; zero if it was not, or if searches find it
}

func (m *memory) store(news map[string]known) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.all == nil || len(m.all) > maxKnown {
		m.all = map[string]known{}
	}
	for id, k := range news {
		if k.at.IsZero() { // it may have been read meanwhile
			k.read, k.at = m.all[id].read, m.all[id].at
		}
		m.all[id] = k
	}
}

// recall returns what is known of traces that were found, and adds to them what was read and not found.
func (m *memory) recall(found map[string]tempo.Summary, now time.Time, in window) map[string]known {
	m.mu.Lock()
	defer m.mu.Unlock()
	recalled := map[string]known{}
	for id, k := range m.all {
		s, ok := found[id]
		spans, _ := countSpans(s)
		was, _ := countSpans(k.read)
		switch {
		case k.at.IsZero():
		case spans < was && k.read.Start.After(now.Add(-in.span)):
			found[id], ok = k.read, true
		case spans >= was && now.Sub(k.at) > keptFor:
			k.at = time.Time{}
			m.all[id] = k
		}
		if ok {
			recalled[id] = k
		}
	}
	return recalled
}

// remember puts a trace that was read by its id into the lists, before a search finds it.
func (e *explorer) remember(t *story.Trace) {
	s, asked := t.Summary()
	e.memory.store(map[string]known{s.ID: {asked: asked, read: s, at: time.Now()}})
}

// learn asks the store and the ledger for what is not known yet of the traces that were found.
func (e *explorer) learn(
	ctx context.Context, found map[string]tempo.Summary, now time.Time, in window,
) map[string]known {
	all := e.memory.recall(found, now, in)
	news := map[string]known{}
	oldest := now
	for id, s := range found {
		k := all[id]
		if k.settled {
			continue
		}
		k.asked = cmp.Or(k.asked, story.Asked(s))
		if k.asked == "" && s.Start.Before(oldest) {
			oldest = s.Start
		}
		k.settled = now.Sub(s.Start) > story.GrowingTime
		news[id] = k
	}
	if len(news) == 0 {
		return all
	}
	var asked map[string]string
	var err error
	if oldest.Before(now) {
		asked, err = e.asked(ctx, now.Add(-min(now.Sub(oldest), in.span)-time.Second))
	}
	received := map[string][]string{}
	if e.Ledger != nil {
		for _, r := range e.Ledger.Recent(maxListed) {
			for _, h := range r.Hops {
				received[h.TraceID] = append(received[h.TraceID], h.To)
			}
		}
	}
	for id, k := range news {
		k.asked = cmp.Or(k.asked, asked[id])
		k.settled = k.settled && err == nil
		if to := received[id]; to != nil {
			k.received = to
		}
		news[id] = k
	}
	e.memory.store(news)
	maps.Copy(all, news)
	return all
}

// asked finds the traces in which the gateway's span has the host name of a service: that service may
// have sent none. An error is logged, and what was found all the same is returned.
func (e *explorer) asked(ctx context.Context, since time.Time) (map[string]string, error) {
	var mu sync.Mutex
	var g errgroup.Group
	asked := map[string]string{}
	for _, s := range topology.Services() {
		g.Go(func() error {
			found, err := e.newest(ctx, askedFor(s.Host()), since, 2*maxListed)
			mu.Lock()
			defer mu.Unlock()
			for _, t := range found {
				asked[t.ID] = s.Name
			}
			return err
		})
	}
	err := g.Wait()
	if err != nil {
		e.unheard(err)
	}
	return asked, err
}
