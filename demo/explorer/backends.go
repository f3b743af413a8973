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

	"example.com/grafana-tempo-go-demo/demo/story"
	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/demo/traceid"
	"example.com/grafana-tempo-go-demo/demo/visit"
)

const (
	// tempoTimeout is for one answer of Tempo, body included. A search over an hour of a small
	// Tempo takes milliseconds.
	tempoTimeout = 30 * time.Second
	// logsTimeout is for one answer of Loki. The trace is not shown before.
	logsTimeout = 3 * time.Second
	// logsAround is how long before and after a trace its log lines are looked for.
	logsAround = 5 * time.Minute
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
	if o.Loki != nil {
		if err := e.clientOf(o.Loki, logStore).Ready(ctx); err != nil {
			tempoErr = errors.Join(tempoErr, fmt.Errorf("-loki: %w", err))
		}
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

func (e *explorer) client() *tempo.Client { return e.clientOf(e.Tempo, "") }

func (e *explorer) clientOf(store *url.URL, name string) *tempo.Client {
	return &tempo.Client{URL: store.String(), Store: name, HTTP: e.backends}
}

const logStore = "log store"

// logs is what the log store has of a trace.
type logs struct {
	Lines []story.Line `json:"lines"`
	About string       `json:"about,omitempty"` // why there are none, or not all
	Bad   bool         `json:"bad,omitempty"`   // the store did not say
	retry bool         // it may, when it is asked again
}

// logs asks for the log lines of a trace, of which no span may be here.
func (e *explorer) logs(ctx context.Context, id string, t *story.Trace) *logs {
	if e.Loki == nil {
		return &logs{About: "There is no log store: start the explorer with -loki to see log lines here."}
	}
	ctx, cancel := context.WithTimeout(ctx, logsTimeout)
	defer cancel()
	to := time.Now()
	from := to.Add(-time.Hour)
	if t != nil { // lines may be late, and clocks may differ
		from, to = t.StartedAt.Add(-logsAround), t.StartedAt.Add(time.Duration(t.Duration)+logsAround)
	}
	found, err := e.clientOf(e.Loki, logStore).Lines(ctx, id, from, to)
	if err != nil {
		status, sentence := e.trouble(logStore, e.Loki, err)
		return &logs{About: sentence, Bad: true, retry: status >= http.StatusInternalServerError}
	}
	got := &logs{Lines: story.Lines(found, t)}
	switch len(found) {
	case 0:
		got.About = "The log store has no line with this trace's id."
	case tempo.MaxLines:
		got.About = fmt.Sprintf("These are the first %d lines. There may be more.", tempo.MaxLines)
	}
	return got
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
	e.failUnanswered(w, r, "trace store", e.Tempo, err)
}

// unheard logs an answer of the trace store that did not come, or made no sense.
func (e *explorer) unheard(err error) { e.trouble("trace store", e.Tempo, err) }

// failUnanswered tells the page why a back end did not say what it was asked.
func (e *explorer) failUnanswered(w http.ResponseWriter, r *http.Request, what string, base *url.URL, err error) {
	if r.Context().Err() == nil { // otherwise the page is gone
		status, sentence := e.trouble(what, base, err)
		fail(w, status, sentence)
	}
}

// trouble logs and says why a back end did not say what it was asked.
func (e *explorer) trouble(what string, base *url.URL, err error) (status int, sentence string) {
	refusal, refused := errors.AsType[*tempo.Refusal](err)
	if refused && refusal.Status >= http.StatusBadRequest {
		says := cmp.Or(refusal.Says, fmt.Sprintf("The answer was %d.", refusal.Status))
		if what == logStore { // of the trace store the page's title says so
			says = "The log store refused: " + says
		}
		return refusal.Status, says
	}
	e.Logger.Warn("no answer", "from", what, "error", err.Error())
	switch netErr, ok := errors.AsType[net.Error](err); {
	case refused || errors.Is(err, tempo.ErrNotTempo):
		program := map[string]string{"trace store": "Tempo", "log store": "Loki"}[what]
		return http.StatusBadGateway, fmt.Sprintf("What answers at %s is no %s. Is the address right?", base.Redacted(), program)
	case ok && netErr.Timeout():
		return http.StatusGatewayTimeout, fmt.Sprintf("The %s at %s takes too long. Is it running?", what, base.Redacted())
	default:
		return http.StatusBadGateway, fmt.Sprintf("The %s at %s does not answer. Is it running?", what, base.Redacted())
	}
}
