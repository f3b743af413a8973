package explorer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/tempo"
)

const (
	// tempoTimeout is for one answer of Tempo, body included. A search over an hour of a small
	// Tempo takes milliseconds.
	tempoTimeout = 30 * time.Second
	// probeTimeout is for the one question to Tempo that the page waits for before it starts.
	probeTimeout = 2 * time.Second
)

// Missing says which of the back ends are not there, and what to do about it, by the flags of
// `demo explorer`.
func (o Options) Missing(ctx context.Context) (missing []error) {
	e := &explorer{Options: o, backends: newTransport()}
	if err := e.client().Ready(ctx); err != nil {
		missing = append(missing, fmt.Errorf("-tempo: %w", err))
	}
	port := cmp.Or(o.Gateway.Port(), map[string]string{"http": "80", "https": "443"}[o.Gateway.Scheme])
	// Not a request: the proxy would make a trace of it.
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(o.Gateway.Hostname(), port))
	if err != nil {
		return append(missing, fmt.Errorf("-gateway: no proxy answers at %s, start it (go run ./demo, or docker compose up) "+
			"or correct the address: %w", o.Gateway.Redacted(), err))
	}
	_ = conn.Close()
	return missing
}

func (e *explorer) client() *tempo.Client {
	return &tempo.Client{URL: e.Tempo.String(), HTTP: &http.Client{Transport: e.backends}}
}

const (
	allTraces    = "{}"
	newestTraces = "{} with (most_recent=true)"
)

// newest returns the query for the newest traces. A Tempo with more traces than it is asked for
// returns any of them unless the query has a hint. The demo's collector returns the newest anyway
// and refuses hints. The page could find out by itself, but a refused request looks like an error
// in the browser's console.
func (e *explorer) newest(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if _, err := e.client().Search(ctx, tempo.Query{TraceQL: newestTraces, Limit: 1}); err != nil {
		return allTraces // also when it is down; the page asks again when it is back
	}
	return newestTraces
}

// tempoProxy passes a request for /tempo/... to Tempo. Of the page's request only path and query
// reach it.
func (e *explorer) tempoProxy() http.Handler {
	proxy := &httputil.ReverseProxy{
		Transport: e.backends,
		ErrorLog:  slog.NewLogLogger(e.Logger.Handler(), slog.LevelDebug), // a reader who left in the middle
		Rewrite: func(pr *httputil.ProxyRequest) {
			u := under(e.Tempo, strings.TrimPrefix(pr.In.URL.Path, "/tempo"))
			u.RawQuery = pr.In.URL.RawQuery
			pr.Out.URL, pr.Out.Host = u, u.Host
			pr.Out.Header = http.Header{"Accept": {"application/json"}}
			pr.Out.Body, pr.Out.ContentLength = http.NoBody, 0
		},
		ModifyResponse: func(res *http.Response) error {
			kept := http.Header{"Content-Type": {"text/plain; charset=utf-8"}} // of an answer that does not say
			for _, name := range []string{"Content-Type", "Content-Length"} {
				if v := res.Header.Get(name); v != "" {
					kept.Set(name, v)
				}
			}
			res.Header = kept
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if errors.Is(r.Context().Err(), context.Canceled) {
				return // the page has given up on it
			}
			e.Logger.Warn("tempo does not answer", "path", r.URL.Path, "error", err.Error())
			failUnanswered(w, "trace store", e.Tempo, err)
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), tempoTimeout)
		defer cancel()
		proxy.ServeHTTP(w, r.WithContext(ctx))
	})
}

// under returns the URL of a path below a base. For a base without a path, JoinPath alone leaves
// out the path's first slash, and no server understands that.
func under(base *url.URL, path string) *url.URL {
	u := base.JoinPath(path)
	u.Path = "/" + strings.TrimPrefix(u.Path, "/")
	return u
}

// failUnanswered tells the page that a back end gave no answer.
func failUnanswered(w http.ResponseWriter, what string, base *url.URL, err error) {
	status, how := http.StatusBadGateway, "does not answer"
	if netErr, ok := errors.AsType[net.Error](err); ok && netErr.Timeout() {
		status, how = http.StatusGatewayTimeout, "takes too long"
	}
	fail(w, status, fmt.Sprintf("The %s at %s %s. Is it running?", what, base.Redacted(), how))
}
