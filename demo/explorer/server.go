// Package explorer serves the page on which the demo's traces are seen: one embedded page that sends requests through
// the proxy, lists traces, draws one as a waterfall, and shows how the propagation header travelled. It needs nothing
// but Tempo's HTTP API and the proxy, so it works on a real Tempo behind Traefik as well as on the demo's own collector
// behind its gateway.
//
// The page is plain HTML, CSS and JavaScript modules in web/; it reads traces through /tempo/, a pass-through to the few
// read-only paths of Tempo that it needs, so that the browser talks to one origin only.
package explorer

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/lab"
	"example.com/grafana-tempo-go-demo/demo/local"
)

const (
	// tempoTimeout is for one answer of Tempo, body included. A search over an hour of a small Tempo takes milliseconds.
	tempoTimeout = 30 * time.Second
	// probeTimeout is for the one question to Tempo that the page waits for before it starts.
	probeTimeout = 2 * time.Second
	// maxRequestBytes bounds what the page may send: a few words.
	maxRequestBytes = 4 << 10
)

// Options say whose traces to show and what else there is to show.
type Options struct {
	// Tempo is the base of Tempo's HTTP API: the demo's collector or a real Tempo.
	Tempo *url.URL
	// Gateway is the proxy. Requests name the service in the Host header, <service>.localhost, and dial this address:
	// Go's resolver does not know *.localhost.
	Gateway *url.URL
	// Services are the names of the services that the page may call; nil means the demo's four.
	Services []string
	// Ledger answers GET /api/ledger?trace=<id> with the hops of one request, in the shape that package ledger
	// documents. Nil when nobody keeps one; the page says so.
	Ledger http.Handler
	// Faults breaks the telemetry on purpose and mends it; nil when this cannot be done from here.
	Faults lab.Switch
	// Logger hears of what Tempo or the proxy did not answer; nil discards.
	Logger *slog.Logger
}

// Service is what the page knows of one service of the demo.
type Service struct {
	Name string `json:"name"`
	Host string `json:"host"` // by which the proxy routes to it, without a port
	// Plain tells that the service sends no spans by design, and that its trace therefore ends at the proxy.
	Plain bool `json:"plain"`
	// Calls names the service behind it, Twin the same program with or without instrumentation; both may be empty.
	Calls string `json:"calls,omitempty"`
	Twin  string `json:"twin,omitempty"`
}

// roles is the story that the page tells of the demo's four services.
var roles = []Service{
	{Name: "uservice1", Plain: true, Calls: "uservice2", Twin: "uservice3"},
	{Name: "uservice2", Plain: true, Twin: "uservice4"},
	{Name: "uservice3", Calls: "uservice4", Twin: "uservice1"},
	{Name: "uservice4", Twin: "uservice2"},
}

//go:embed web
var embedded embed.FS

// New returns the page and its API. It starts nothing, and Tempo and the proxy need not be up yet.
func New(o Options) http.Handler {
	// No Proxy: both are on this machine or beside it, whatever HTTP_PROXY says.
	tempo := &http.Transport{
		DialContext:           (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		MaxIdleConnsPerHost:   32,
		IdleConnTimeout:       30 * time.Second,
		ResponseHeaderTimeout: tempoTimeout,
	}
	gateway := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		MaxIdleConnsPerHost: maxCalls,
		IdleConnTimeout:     30 * time.Second,
	}
	return newHandler(o, tempo, gateway)
}

// newHandler is New with the ways to Tempo and to the proxy.
func newHandler(o Options, tempo, gateway http.RoundTripper) http.Handler {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Services == nil {
		for _, s := range roles {
			o.Services = append(o.Services, s.Name)
		}
	}
	e := &explorer{Options: o, assets: loadAssets(), calls: make(chan struct{}, maxCalls), tempo: tempo, gateway: gateway}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", e.page)
	mux.HandleFunc("GET /trace/{id}", e.page)
	mux.HandleFunc("GET /assets/{name}", e.asset)
	mux.HandleFunc("GET /api/config", e.config)
	mux.HandleFunc("POST /api/call", e.call)
	mux.HandleFunc("GET /api/faults", e.listFaults)
	mux.HandleFunc("POST /api/faults", e.setFault)
	if o.Ledger != nil {
		mux.HandleFunc("GET /api/ledger", func(w http.ResponseWriter, r *http.Request) {
			o.Ledger.ServeHTTP(&emptyLedger{ResponseWriter: w}, r)
		})
	}
	proxy := e.passThrough()
	for _, p := range []string{"/ready", "/api/echo", "/api/search"} {
		mux.Handle("GET /tempo"+p, proxy)
	}
	for _, p := range []string{"/api/traces/{id}", "/api/v2/traces/{id}"} {
		mux.HandleFunc("GET /tempo"+p, func(w http.ResponseWriter, r *http.Request) {
			if !isTraceID(r.PathValue("id")) {
				fail(w, http.StatusBadRequest, "This is not a trace id: up to 32 hexadecimal digits are.")
				return
			}
			proxy.ServeHTTP(w, r)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotFound, "There is nothing at this address. The page is at /, and a trace at /trace/ with its id.")
	})
	return secure(mux)
}

type explorer struct {
	Options
	assets         map[string]asset
	calls          chan struct{} // one slot for each call in flight
	tempo, gateway http.RoundTripper
}

// under returns the URL of a path below a base. JoinPath alone makes a path without its slash of a base that has no path,
// and no server understands that.
func under(base *url.URL, path string) *url.URL {
	u := base.JoinPath(path)
	u.Path = "/" + strings.TrimPrefix(u.Path, "/")
	return u
}

// secure keeps other pages in the reader's browser out: this server makes requests for whoever asks it to.
func secure(next http.Handler) http.Handler {
	crossOrigin := http.NewCrossOriginProtection()
	crossOrigin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fail(w, http.StatusForbidden, "Another site's page may not send requests from here. Open the explorer itself.")
	}))
	next = crossOrigin.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "+
			"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Cache-Control", "no-store")
		if !local.Named(r) {
			fail(w, http.StatusMisdirectedRequest, "The explorer does not answer to this host name. Open it as http://localhost or http://127.0.0.1 with its port.")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// asset is one file of the page.
type asset struct {
	data      []byte
	mediaType string
	etag      string
}

// mediaTypes are set here because a machine's own table may call JavaScript something that browsers refuse.
var mediaTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

func loadAssets() map[string]asset {
	assets := map[string]asset{}
	web, err := fs.Sub(embedded, "web")
	if err != nil {
		panic(err) // the name is a constant
	}
	entries, err := fs.ReadDir(web, ".")
	if err != nil {
		panic(err) // what is embedded can be read
	}
	for _, entry := range entries {
		data, err := fs.ReadFile(web, entry.Name())
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(data)
		assets[entry.Name()] = asset{data, mediaTypes[path.Ext(entry.Name())], `"` + hex.EncodeToString(sum[:12]) + `"`}
	}
	return assets
}

// page answers / and /trace/<id> alike: which of the two it is, the page finds in its own address.
func (e *explorer) page(w http.ResponseWriter, r *http.Request) {
	status := http.StatusOK
	if id := r.PathValue("id"); id != "" && !isTraceID(id) {
		status = http.StatusNotFound // the page says why
	}
	w.Header().Set("Content-Type", mediaTypes[".html"])
	w.WriteHeader(status)
	_, _ = w.Write(e.assets["index.html"].data)
}

func (e *explorer) asset(w http.ResponseWriter, r *http.Request) {
	a, ok := e.assets[r.PathValue("name")]
	if !ok {
		fail(w, http.StatusNotFound, "The page has no such part. Reload it: it may be of another version.")
		return
	}
	w.Header().Set("Cache-Control", "no-cache") // asked about each time, sent only when it has changed
	w.Header().Set("Etag", a.etag)
	if r.Header.Get("If-None-Match") == a.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", a.mediaType)
	_, _ = w.Write(a.data)
}

// config tells the page what there is.
func (e *explorer) config(w http.ResponseWriter, r *http.Request) {
	services := make([]Service, 0, len(e.Services))
	for _, name := range e.Services {
		s := Service{Name: name}
		if i := slices.IndexFunc(roles, func(s Service) bool { return s.Name == name }); i >= 0 {
			s = roles[i]
		}
		s.Host = hostName(name)
		services = append(services, s)
	}
	answer(w, http.StatusOK, struct {
		Services []Service `json:"services"`
		Gateway  string    `json:"gateway"`
		Tempo    string    `json:"tempo"`
		Ledger   bool      `json:"ledger"`
		Faults   bool      `json:"faults"`
		// Query is the TraceQL for the newest traces.
		Query string `json:"query"`
	}{services, e.Gateway.Redacted(), e.Tempo.Redacted(), e.Ledger != nil, e.Faults != nil, e.newest(r.Context())})
}

const (
	allTraces    = "{}"
	newestTraces = "{} with (most_recent=true)"
)

// newest returns the query for the newest traces. A Tempo with more traces than it is asked for returns any of them
// unless the query has a hint; the demo's collector returns the newest anyway and takes no hint. The page could find out
// by itself, but a refused request looks like an error to whoever reads the browser's console.
func (e *explorer) newest(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	u := under(e.Tempo, "/api/search")
	u.RawQuery = url.Values{"q": {newestTraces}, "limit": {"1"}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return allTraces
	}
	res, err := e.tempo.RoundTrip(req)
	if err != nil {
		return allTraces // it is down; the page asks again when it is back
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // so that the connection can be used again
	if res.StatusCode != http.StatusOK {
		return allTraces
	}
	return newestTraces
}

// passThrough hands a request for /tempo/... to Tempo. Of the page's request only path and query reach it.
func (e *explorer) passThrough() http.Handler {
	proxy := &httputil.ReverseProxy{
		Transport: e.tempo,
		ErrorLog:  slog.NewLogLogger(e.Logger.Handler(), slog.LevelDebug), // a reader who left in the middle
		Rewrite: func(pr *httputil.ProxyRequest) {
			u := under(e.Tempo, strings.TrimPrefix(pr.In.URL.Path, "/tempo"))
			u.RawQuery = pr.In.URL.RawQuery
			pr.Out.URL, pr.Out.Host = u, u.Host
			pr.Out.Header = http.Header{"Accept": {"application/json"}}
			pr.Out.Body, pr.Out.ContentLength = http.NoBody, 0
		},
		ModifyResponse: func(res *http.Response) error {
			kept := http.Header{}
			for _, name := range []string{"Content-Type", "Content-Length"} {
				if v := res.Header.Get(name); v != "" {
					kept.Set(name, v)
				}
			}
			if kept.Get("Content-Type") == "" {
				kept.Set("Content-Type", "text/plain; charset=utf-8") // such as v1's 404 without a body
			}
			res.Header = kept
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if errors.Is(r.Context().Err(), context.Canceled) {
				return // the page has given up on it
			}
			e.Logger.Warn("tempo does not answer", "path", r.URL.Path, "error", err.Error())
			status, how := http.StatusBadGateway, "does not answer"
			if netErr, ok := errors.AsType[net.Error](err); ok && netErr.Timeout() {
				status, how = http.StatusGatewayTimeout, "takes too long"
			}
			fail(w, status, fmt.Sprintf("The trace store at %s %s. Is it running?", e.Tempo.Redacted(), how))
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), tempoTimeout)
		defer cancel()
		proxy.ServeHTTP(w, r.WithContext(ctx))
	})
}

// isTraceID accepts what Tempo accepts: leading zeros may be missing, as they are in search results.
func isTraceID(id string) bool {
	return id != "" && len(id) <= 32 && strings.Trim(id, "0123456789abcdefABCDEF") == ""
}

// emptyLedger makes a 404 of the ledger, which knows nothing of a trace, an empty list: the page asks for every trace that
// it shows, and a browser's console lists each 404 as a failure.
type emptyLedger struct {
	http.ResponseWriter
	empty bool
}

func (e *emptyLedger) WriteHeader(status int) {
	if e.empty = status == http.StatusNotFound; !e.empty {
		e.ResponseWriter.WriteHeader(status)
		return
	}
	e.Header().Del("Content-Length")
	answer(e.ResponseWriter, http.StatusOK, struct {
		Requests []struct{} `json:"requests"`
	}{[]struct{}{}})
}

func (e *emptyLedger) Write(data []byte) (int, error) {
	if e.empty {
		return len(data), nil
	}
	return e.ResponseWriter.Write(data)
}

// faultState is the answer of both methods of /api/faults.
type faultState struct {
	Active string      `json:"active"`
	Faults []lab.Fault `json:"faults"`
}

const noFaults = "Telemetry cannot be broken from this page, because it did not start the services. `go run ./demo` can."

func (e *explorer) listFaults(w http.ResponseWriter, _ *http.Request) {
	if e.Faults == nil {
		fail(w, http.StatusNotFound, noFaults)
		return
	}
	answer(w, http.StatusOK, faultState{e.Faults.Active(), lab.Faults()})
}

func (e *explorer) setFault(w http.ResponseWriter, r *http.Request) {
	var wish struct{ Name string }
	if !readJSON(w, r, &wish) {
		return
	}
	if e.Faults == nil {
		fail(w, http.StatusNotFound, noFaults)
		return
	}
	if _, known := lab.Named(wish.Name); wish.Name != "" && !known {
		fail(w, http.StatusBadRequest, "There is no such fault. GET /api/faults lists them; an empty name mends everything.")
		return
	}
	if err := e.Faults.Set(r.Context(), wish.Name); err != nil {
		e.Logger.Warn("fault", "name", wish.Name, "error", err.Error())
		fail(w, http.StatusInternalServerError, fmt.Sprintf("The change did not work: %v.", err))
		return
	}
	e.listFaults(w, r)
}

// readJSON reads a small JSON object and answers by itself what is none. The content type is asked for because a form of
// another site can send any body, but not this type without the browser asking first.
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
		fail(w, http.StatusBadRequest, fmt.Sprintf("This is not the JSON object that is wanted: %v.", err))
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
	answer(w, status, struct {
		Error string `json:"error"`
	}{sentence})
}
