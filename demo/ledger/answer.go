package ledger

import (
	"maps"
	"time"
)

// DefaultLimit is how many requests are listed unless another number is asked for.
const DefaultLimit = 20

// Answer is what GET /api/ledger and demo ledger -json answer with.
type Answer struct {
	// Requests are newest first. Of those of a trace there are Total, and the newest are here.
	Requests []Request `json:"requests"`
	Total    int       `json:"total,omitempty"`
	// Services are those that said something of themselves, by name.
	Services map[string]Telemetry `json:"services,omitempty"`
}

// Telemetry is what a service's own log says of it.
type Telemetry struct {
	Started time.Time `json:"started,omitzero"` // when it began to listen, the last time
	Vain    string    `json:"vain,omitempty"`   // the endpoint to which it has sent spans in vain since
	Back    time.Time `json:"back,omitzero"`    // when its spans reached the back end again, the last time
}

// Answer has at most DefaultLimit requests that had to do with a trace, see Trace, and what services
// say of themselves.
func (l *Ledger) Answer(id string) (a Answer, err error) {
	a.Requests, a.Total, err = l.Trace(id, DefaultLimit)
	l.mu.Lock()
	defer l.mu.Unlock()
	a.Services = maps.Clone(l.services)
	return a, err
}

func (l *Ledger) addTelemetry(service string, f func(*Telemetry)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	own := l.services[service]
	f(&own)
	l.services[service] = own
}
