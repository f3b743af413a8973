package explorer

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

const (
	// callTimeout is longer than the services' own: they answer within 15 s, whatever happens
	// behind them.
	callTimeout = 25 * time.Second
	// maxCalls is how many calls may be in flight; the page has a button, not a load generator.
	maxCalls = 64
	// maxAnswerBytes bounds what is read of a service's page, so that its connection can be used
	// again.
	maxAnswerBytes = 1 << 20
)

// callRequest is the body of POST /api/call.
type callRequest struct {
	Service string `json:"service"`
	Fail    string `json:"fail"` // "", "redis" or "database"
	Slow    string `json:"slow"` // "", "redis" or "database"
}

// callResult is the answer of POST /api/call: what an outsider can know of one request.
type callResult struct {
	Service    string  `json:"service"`
	URL        string  `json:"url"`
	Status     int     `json:"status"`
	StatusText string  `json:"status_text"`
	DurationMS float64 `json:"duration_ms"`
	// Started is when the request was sent, in milliseconds since 1970.
	Started int64 `json:"started_ms"`
	// TraceID is from the answer's traceresponse header; empty when there is none, which is how the
	// plain services answer. Their trace, which ends at the proxy, can be searched by the tag
	// user_agent.original.
	TraceID   string `json:"trace_id"`
	UserAgent string `json:"user_agent"`
	// Sampled is the flag of the same header: without it, no span of the service will arrive
	// anywhere.
	Sampled bool `json:"sampled"`
}

// call sends one GET through the proxy, as a visitor would.
func (e *explorer) call(w http.ResponseWriter, r *http.Request) {
	var wish callRequest
	if !readJSON(w, r, &wish) {
		return
	}
	var names []string
	for _, s := range services() {
		names = append(names, s.Name)
	}
	switch dependencies := []string{"", "redis", "database"}; {
	case !slices.Contains(names, wish.Service):
		fail(w, http.StatusBadRequest, "There is no such service. There are: "+strings.Join(names, ", ")+".")
		return
	case !slices.Contains(dependencies, wish.Fail) || !slices.Contains(dependencies, wish.Slow):
		fail(w, http.StatusBadRequest, "fail and slow take redis or database, or nothing.")
		return
	}
	select {
	case e.calls <- struct{}{}:
		defer func() { <-e.calls }()
	default:
		fail(w, http.StatusTooManyRequests,
			fmt.Sprintf("%d calls are under way. Wait for an answer, or use a load generator for more.", maxCalls))
		return
	}
	result, err := e.send(r.Context(), wish)
	if err != nil {
		if r.Context().Err() != nil {
			return // the page is gone
		}
		e.Logger.Warn("call", "service", wish.Service, "error", err.Error())
		failUnanswered(w, "proxy", e.Gateway, err)
		return
	}
	answer(w, http.StatusOK, result)
}

// send makes the request. Its User-Agent is unlike any other: both Traefik and the demo's gateway
// record it on their server span, so the trace can be found even when no service tells its id.
func (e *explorer) send(ctx context.Context, wish callRequest) (*callResult, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	u := under(e.Gateway, "/")
	query := url.Values{}
	for name, value := range map[string]string{"fail": wish.Fail, "slow": wish.Slow} {
		if value != "" {
			query.Set(name, value)
		}
	}
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Host = topology.Host(wish.Service)
	if port := e.Gateway.Port(); port != "" { // as a browser would send it
		req.Host = net.JoinHostPort(req.Host, port)
	}
	userAgent := fmt.Sprintf("demo-explorer/%016x", rand.Uint64())
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set("Accept", "text/html")

	start := time.Now()
	res, err := e.backends.RoundTrip(req) // not a Client's Do: a redirect is an answer
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswerBytes)); err != nil {
		return nil, err
	}
	own := ledger.Decode("traceresponse", res.Header.Get("traceresponse"))
	shown := *u
	shown.Host, shown.User = req.Host, nil
	return &callResult{
		Service:    wish.Service,
		URL:        shown.String(),
		Status:     res.StatusCode,
		StatusText: http.StatusText(res.StatusCode),
		DurationMS: float64(time.Since(start).Microseconds()) / 1000,
		Started:    start.UnixMilli(),
		TraceID:    own.TraceID,
		UserAgent:  userAgent,
		Sampled:    own.Sampled != nil && *own.Sampled,
	}, nil
}
