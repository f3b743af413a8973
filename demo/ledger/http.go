package ledger

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
)

// Limits of GET /api/ledger?limit=.
const (
	DefaultLimit = 20
	MaxLimit     = 1000
)

// Answer is what the HTTP API answers with.
type Answer struct {
	// Requests are newest first.
	Requests []Request `json:"requests"`
}

// Failure is what the HTTP API answers with when it has nothing better: 400 for a question that makes no sense, 404 for an
// id of which nothing is known, 405 for another method than GET.
type Failure struct {
	// Error says what is wrong and what to do.
	Error string `json:"error"`
}

// Handler returns the HTTP API. It looks at the query alone, so that it can be served under any path:
//
//	GET /api/ledger?limit=20         the newest requests; limit is 1 to 1000, and 20 if it is missing
//	GET /api/ledger?trace=<id>       the requests that had to do with a trace; leading zeros may be missing
//	GET /api/ledger?request=<id>     the request with this id
//
// It answers with an Answer as JSON, or with a Failure.
func (l *Ledger) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			reply(w, http.StatusMethodNotAllowed, Failure{"the ledger can only be read: use GET"})
			return
		}
		status, answer := l.answer(r.URL.RawQuery)
		reply(w, status, answer)
	})
}

func (l *Ledger) answer(rawQuery string) (status int, answer any) {
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return http.StatusBadRequest, Failure{"query: " + err.Error()}
	}
	for name, values := range query {
		if name != "trace" && name != "request" && name != "limit" {
			return http.StatusBadRequest, Failure{fmt.Sprintf("query: there is no parameter %q; trace, request and limit are known", cut(name, 64))}
		}
		if len(values) > 1 {
			return http.StatusBadRequest, Failure{fmt.Sprintf("query: %s is given %d times; give it once", name, len(values))}
		}
	}
	if query.Has("trace") && query.Has("request") {
		return http.StatusBadRequest, Failure{"query: trace and request exclude each other"}
	}
	limit := DefaultLimit
	if text := query.Get("limit"); query.Has("limit") {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > MaxLimit {
			return http.StatusBadRequest, Failure{fmt.Sprintf("query: limit=%q; want a number from 1 to %d", cut(text, 64), MaxLimit)}
		}
	}
	switch {
	case query.Has("trace"):
		found, err := l.Trace(query.Get("trace"), limit)
		if err != nil {
			return http.StatusBadRequest, Failure{"query: " + err.Error()}
		}
		if len(found) == 0 {
			return http.StatusNotFound, Failure{"nothing is known of this trace: it is too old, or none of its requests came here"}
		}
		return http.StatusOK, Answer{found}
	case query.Has("request"):
		found, ok := l.Request(query.Get("request"))
		if !ok {
			return http.StatusNotFound, Failure{"there is no request with this id: it is too old, or there never was one"}
		}
		return http.StatusOK, Answer{[]Request{found}}
	}
	return http.StatusOK, Answer{l.Recent(limit)}
}

func reply(w http.ResponseWriter, status int, answer any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // a client that hung up is no failure
}
