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

// Handler returns the HTTP API. It looks at the query alone, so that any path can serve it:
//
//	GET /api/ledger?limit=20         the newest requests; limit is 1 to 1000, by default 20
//	GET /api/ledger?trace=<id>       the requests that had to do with a trace; leading zeros may be missing
//	GET /api/ledger?request=<id>     the request with this id
//
// It answers with an Answer as JSON, or with an object whose "error" says what is wrong and what to
// do: 400 for a question that makes no sense, 404 for an unknown id, 405 for another method than
// GET.
func (l *Ledger) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, problem := http.StatusMethodNotAllowed, "the ledger can only be read: use GET"
		var found []Request
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			found, status, problem = l.answer(r.URL.RawQuery)
		} else {
			w.Header().Set("Allow", "GET, HEAD")
		}
		var body any = Answer{found}
		if problem != "" {
			body = map[string]string{"error": problem}
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body) // a client that hung up is no failure
	})
}

func (l *Ledger) answer(rawQuery string) (found []Request, status int, problem string) {
	bad := func(format string, args ...any) ([]Request, int, string) {
		return nil, http.StatusBadRequest, "query: " + fmt.Sprintf(format, args...)
	}
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return bad("%v", err)
	}
	for name, values := range query {
		if name != "trace" && name != "request" && name != "limit" {
			return bad("there is no parameter %q; trace, request and limit are known", cut(name, 64))
		}
		if len(values) > 1 {
			return bad("%s is given %d times; give it once", name, len(values))
		}
	}
	limit := DefaultLimit
	if text := query.Get("limit"); query.Has("limit") {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > MaxLimit {
			return bad("limit=%q; want a number from 1 to %d", cut(text, 64), MaxLimit)
		}
	}
	switch {
	case query.Has("trace") && query.Has("request"):
		return bad("trace and request exclude each other")
	case query.Has("trace"):
		if found, err = l.Trace(query.Get("trace"), limit); err != nil {
			return bad("%v", err)
		}
		problem = "nothing is known of this trace: it is too old, or none of its requests came here"
	case query.Has("request"):
		if r, ok := l.Request(query.Get("request")); ok {
			found = []Request{r}
		}
		problem = "there is no request with this id: it is too old, or there never was one"
	default:
		return l.Recent(limit), http.StatusOK, ""
	}
	if len(found) == 0 {
		return nil, http.StatusNotFound, problem
	}
	return found, http.StatusOK, ""
}
