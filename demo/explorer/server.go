// Package explorer serves the page that shows the demo's traces. The page sends requests through
// the gateway, lists traces, draws one as a waterfall, and shows how the propagation header
// travelled. It needs nothing but Tempo's HTTP API and the gateway, so it works on a real Tempo
// behind Traefik as well as on the demo's own collector behind its gateway.
//
// The page is plain HTML, CSS and JavaScript modules in web/. They draw, and decide nothing about a
// trace: package story does. Beside that a trace can be read as Tempo sends it, under /tempo/.
package explorer

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"example.com/grafana-tempo-go-demo/demo/lab"
	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/local"
	"example.com/grafana-tempo-go-demo/demo/topology"
	"example.com/grafana-tempo-go-demo/demo/visit"
)

// maxRequestBytes bounds what the page may send: a few words.
const maxRequestBytes = 4 << 10

// Options say whose traces to show and what else there is to show.
type Options struct {
	// Tempo is the base of Tempo's HTTP API: the demo's collector or a real Tempo.
	Tempo *url.URL
	// Loki is the base of Loki's HTTP API, for log lines: the demo's collector or a real Loki. Nil for none.
	Loki *url.URL
	// Gateway is dialled for every service, whose name is in the Host header: Go's
	// resolver does not know *.localhost.
	Gateway *url.URL
	// Ledger has the hops of requests. Nil when nobody keeps one; the page says so.
	Ledger Ledger
	// Faults breaks the telemetry on purpose and mends it; nil when this cannot be done from here.
	Faults *lab.Lab
	// Logger hears of what Tempo or the gateway did not answer; nil discards.
	Logger *slog.Logger
}

// Ledger is what the page asks of a *ledger.Ledger.
type Ledger interface {
	Answer(id string) (ledger.Answer, error)
	Recent(limit int) []ledger.Request
	Trace(id string, limit int) (found []ledger.Request, total int, err error)
}

type explorer struct {
	Options
	backends *http.Client             // to Tempo and to the gateway
	calls    chan struct{}            // one slot for each call in flight
	reading  sync.Mutex               // held while a file is read
	mapped   atomic.Pointer[[]mapped] // what the last map was made of
}

// New returns the page and its API. It starts nothing, and Tempo and the gateway need not be up yet.
func New(o Options) http.Handler { return newHandler(o, visit.Client()) }

func newHandler(o Options, backends *http.Client) http.Handler {
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	e := &explorer{Options: o, backends: backends, calls: make(chan struct{}, maxCalls)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", page)
	mux.HandleFunc("GET /trace/{id}", page)
	mux.HandleFunc("GET /trace/{id}/with/{other...}", page)
	mux.HandleFunc("GET /map", page)
	mux.HandleFunc("GET /file", page)
	mux.HandleFunc("GET /assets/{name}", asset)
	mux.HandleFunc("GET /api/config", e.config)
	mux.HandleFunc("POST /api/call", e.call)
	mux.HandleFunc("GET /api/traces", e.traces)
	if o.Faults != nil {
		mux.HandleFunc("GET /api/faults", e.faults)
		mux.HandleFunc("GET /api/faults/all", allFaults)
		mux.HandleFunc("POST /api/faults", e.changeFaults)
	}
	if o.Ledger != nil {
		mux.HandleFunc("GET /api/ledger", e.hops)
	}
	mux.HandleFunc("GET /api/trace/{id}", e.trace)
	mux.HandleFunc("GET /api/called", e.called)
	mux.HandleFunc("GET /api/map", e.callMap)
	mux.HandleFunc("GET /api/open", open)
	mux.HandleFunc("POST /api/file", e.file)
	mux.HandleFunc("GET /tempo/api/v2/traces/{id}", e.passToTempo)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fail(w, http.StatusNotFound, "There is nothing at this address. The page is at /, and a trace at /trace/ with its id.")
	})
	return secure(mux)
}

// Serve serves the page until ctx ends.
func Serve(ctx context.Context, l net.Listener, o Options) error {
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	server := &http.Server{
		Handler:           New(o),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelWarn),
	}
	// Whatever is under way has nothing to lose.
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("explorer: %w", err)
	}
	return nil
}

// secure lets only this machine's own page in, because this server makes requests for whoever asks
// it to, and lets that page load nothing from elsewhere.
func secure(next http.Handler) http.Handler {
	guarded := local.Page(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "+
			"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Cache-Control", "no-store")
		guarded.ServeHTTP(w, r)
	})
}

// services returns the names of the demo's services, in order.
func services() (names []string) {
	for _, s := range topology.Services() {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	return names
}

// config tells the page what there is.
func (e *explorer) config(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, struct {
		Services []string `json:"services"`
		Gateway  string   `json:"gateway"`
		Tempo    string   `json:"tempo"`
		Ledger   bool     `json:"ledger"`
		Faults   bool     `json:"faults"`
	}{services(), e.Gateway.Redacted(), e.Tempo.Redacted(), e.Ledger != nil, e.Faults != nil})
}

// readJSON reads a small JSON object, and answers itself if there is none. A form of another site
// can send any body, but not this content type without the browser asking first.
func readJSON(w http.ResponseWriter, r *http.Request, v any) bool {
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/json" {
		fail(w, http.StatusUnsupportedMediaType, "Send JSON, and say so: Content-Type: application/json.")
		return false
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequestBytes))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			fail(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("That is too long: %d bytes are enough.", maxRequestBytes))
			return false
		}
		fail(w, http.StatusBadRequest, fmt.Sprintf("This is not the expected JSON object: %v.", err))
		return false
	}
	return true
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the reader may be gone
}

// fail answers with one sentence that says what to do, as {"error": "..."}.
func fail(w http.ResponseWriter, status int, sentence string) {
	answer(w, status, map[string]string{"error": sentence})
}
