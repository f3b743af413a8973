package explorer

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"example.com/grafana-tempo-go-demo/demo/story"
	"example.com/grafana-tempo-go-demo/demo/tempo"
)

// maxKnown bounds the traces of which something is kept. All of it can be learned again.
const maxKnown = 5000

// memory has the services that requests were for, by trace id; empty if nothing will say so any more.
type memory struct {
	mu    sync.Mutex
	asked map[string]string
}

// recall reads the memory, and the traces themselves. Unknown are those that have to be asked for.
func (m *memory) recall(traces []tempo.Summary) (asked map[string]string, unknown []tempo.Summary) {
	m.mu.Lock()
	defer m.mu.Unlock()
	asked = map[string]string{}
	for _, s := range traces {
		name, known := m.asked[s.ID]
		asked[s.ID] = cmp.Or(story.Asked(s), name)
		if asked[s.ID] == "" && !known {
			unknown = append(unknown, s)
		}
	}
	return asked, unknown
}

func (m *memory) keep(id, asked string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.asked == nil || len(m.asked) > maxKnown {
		m.asked = map[string]string{}
	}
	m.asked[id] = asked
}

// asked returns whom the requests of traces were for. If no span of a service says so, the gateway's
// span has its host name, for which the store is asked once.
func (e *explorer) asked(ctx context.Context, traces []tempo.Summary, now time.Time) map[string]string {
	asked, unknown := e.memory.recall(traces)
	if len(unknown) == 0 {
		return asked
	}
	oldest := slices.MinFunc(unknown, func(a, b tempo.Summary) int { return a.Start.Compare(b.Start) }).Start
	for _, service := range services() {
		found, err := e.newest(ctx, oldest.Add(-time.Second), 2*maxListed, askedFor(service))
		if err != nil {
			e.unheard(err) // the next list asks again
			return asked
		}
		for _, s := range found {
			asked[s.ID] = cmp.Or(asked[s.ID], service)
		}
	}
	for _, s := range unknown {
		if asked[s.ID] != "" || now.Sub(s.Start) > story.GrowingTime {
			e.memory.keep(s.ID, asked[s.ID])
		}
	}
	return asked
}
