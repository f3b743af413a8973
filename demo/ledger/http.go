package ledger

import (
	"encoding/json"
	"maps"
	"net/http"
	"time"
)

// DefaultLimit is how many requests are listed unless another number is asked for.
const DefaultLimit = 20

// Answer is what the HTTP API and demo ledger -json answer with.
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

// Handler answers with an Answer of at most DefaultLimit requests as JSON: of those that had to do
// with the trace that the parameter trace names, or of all. There are none for a trace of which
// nothing is known, because a browser's console lists each 404 as a failure. An id that is none is
// answered with 400 and an object whose "error" says what is wrong.
func (l *Ledger) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		a := Answer{Services: maps.Clone(l.services)}
		l.mu.Unlock()
		var err error
		if query := r.URL.Query(); query.Has("trace") {
			a.Requests, a.Total, err = l.Trace(query.Get("trace"), DefaultLimit)
		} else {
			a.Requests = l.Recent(DefaultLimit)
		}
		w.Header().Set("Content-Type", "application/json")
		var body any = a
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			body = map[string]string{"error": "query: " + err.Error()}
		}
		_ = json.NewEncoder(w).Encode(body) // a client that hung up is no failure
	})
}

func (l *Ledger) addTelemetry(service string, f func(*Telemetry)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	own := l.services[service]
	f(&own)
	l.services[service] = own
}
