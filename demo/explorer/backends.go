package explorer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/demo/traceid"
	"example.com/grafana-tempo-go-demo/demo/visit"
)

const (
	// tempoTimeout is for one answer of Tempo, body included. A search over an hour of a small
	// Tempo takes milliseconds.
	tempoTimeout = 30 * time.Second
	// probeTimeout is for finding out what is there, before the server or the page starts without it.
	probeTimeout = 2 * time.Second
)

// Missing says which of the back ends are not there, and what to do about it, by the flags of
// `demo explorer`. It is nil when both are.
func (o Options) Missing(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	e := &explorer{Options: o, backends: visit.Client()}
	tempoErr := e.client().Ready(ctx)
	if tempoErr != nil {
		tempoErr = fmt.Errorf("-tempo: %w", tempoErr)
	}
	port := cmp.Or(o.Gateway.Port(), map[string]string{"http": "80", "https": "443"}[o.Gateway.Scheme])
	// Not a request: the gateway would make a trace of it.
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(o.Gateway.Hostname(), port))
	if err != nil {
		return errors.Join(tempoErr, fmt.Errorf("-gateway: no gateway answers at %s, start it (go run ./demo, or docker compose up) "+
			"or correct the address: %w", o.Gateway.Redacted(), err))
	}
	_ = conn.Close()
	return tempoErr
}

func (e *explorer) client() *tempo.Client {
	return &tempo.Client{URL: e.Tempo.String(), HTTP: e.backends}
}

// passToTempo passes a request for /tempo/api/v2/traces/{id} on to Tempo. Of the page's request only
// path and query reach it.
func (e *explorer) passToTempo(w http.ResponseWriter, r *http.Request) {
	if _, err := traceid.Trace(r.PathValue("id")); err != nil {
		fail(w, http.StatusBadRequest, "This is not a trace id, which has up to 32 hexadecimal digits, not all of them 0.")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), tempoTimeout)
	defer cancel()
	u := e.Tempo.JoinPath(strings.TrimPrefix(r.URL.Path, "/tempo"))
	u.RawQuery = r.URL.RawQuery
	req, err := http.NewRequestWithContext(ctx, r.Method, u.String(), nil)
	if err != nil {
		e.failUnanswered(w, r, "trace store", e.Tempo, err)
		return
	}
	req.Header.Set("Accept", "application/json")
	res, err := e.backends.Do(req)
	if err != nil {
		e.failUnanswered(w, r, "trace store", e.Tempo, err)
		return
	}
	defer res.Body.Close()
	// Whatever the store sends is data: it may not become a page or a script of this origin.
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if res.StatusCode == http.StatusOK {
		w.Header().Set("Content-Type", "application/json")
	}
	w.Header().Set("Content-Security-Policy", "default-src 'none'; sandbox; frame-ancestors 'none'")
	w.WriteHeader(res.StatusCode)
	if _, err := io.Copy(w, res.Body); err != nil {
		panic(http.ErrAbortHandler) // closes the connection: half an answer must not look like a whole
	}
}

// failStore tells the page why the trace store did not say what it was asked.
func (e *explorer) failStore(w http.ResponseWriter, r *http.Request, err error) {
	refusal, refused := errors.AsType[*tempo.Refusal](err)
	switch {
	case refused && refusal.Status >= http.StatusBadRequest:
		fail(w, refusal.Status, cmp.Or(refusal.Says, fmt.Sprintf("The answer was %d.", refusal.Status)))
	case refused || errors.Is(err, tempo.ErrNotTempo):
		e.unheard(err)
		fail(w, http.StatusBadGateway,
			fmt.Sprintf("What answers at %s is no Tempo. Is the address right?", e.Tempo.Redacted()))
	default:
		e.failUnanswered(w, r, "trace store", e.Tempo, err)
	}
}

// unheard logs an answer of the trace store that did not come, or made no sense.
func (e *explorer) unheard(err error) {
	e.Logger.Warn("no answer", "from", "trace store", "error", err.Error())
}

// failUnanswered tells the page that a back end gave no answer.
func (e *explorer) failUnanswered(w http.ResponseWriter, r *http.Request, what string, base *url.URL, err error) {
	if r.Context().Err() != nil {
		return // the page is gone
	}
	e.Logger.Warn("no answer", "from", what, "path", r.URL.Path, "error", err.Error())
	status, how := http.StatusBadGateway, "does not answer"
	if netErr, ok := errors.AsType[net.Error](err); ok && netErr.Timeout() {
		status, how = http.StatusGatewayTimeout, "takes too long"
	}
	fail(w, status, fmt.Sprintf("The %s at %s %s. Is it running?", what, base.Redacted(), how))
}
