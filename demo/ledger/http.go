package ledger

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
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
}

// Handler returns the HTTP API. It looks at the query alone, not at path and method:
//
//	GET /api/ledger              the newest requests
//	GET /api/ledger?trace=<id>   the requests that had to do with a trace; leading zeros may be missing
//
// It answers with an Answer of at most DefaultLimit requests as JSON: none for a trace of which
// nothing is known, because a browser's console lists each 404 as a failure. A question that makes
// no sense is answered with 400 and an object whose "error" says what is wrong and what to do.
func (l *Ledger) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		found, err := l.answer(r.URL.RawQuery)
		w.Header().Set("Content-Type", "application/json")
		var body any = found
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			body = map[string]string{"error": "query: " + err.Error()}
		}
		_ = json.NewEncoder(w).Encode(body) // a client that hung up is no failure
	})
}

func (l *Ledger) telemetry() map[string]Telemetry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.services)
}

func (l *Ledger) addTelemetry(service string, f func(*Telemetry)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	own := l.services[service]
	f(&own)
	l.services[service] = own
}

func (l *Ledger) answer(rawQuery string) (a Answer, err error) {
	a.Services = l.telemetry()
	query, err := url.ParseQuery(rawQuery)
	switch {
	case err != nil:
	case len(query) == 0:
		a.Requests = l.Recent(DefaultLimit)
	case len(query) > 1 || len(query["trace"]) != 1:
		err = errors.New("trace is the only parameter; give it once")
	default:
		a.Requests, a.Total, err = l.trace(query.Get("trace"), DefaultLimit)
	}
	return a, err
}
