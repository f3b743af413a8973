package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// statusClientClosedRequest is nginx's and Traefik's code for a caller that hung up before the answer. Nobody receives
// it, but logs can tell it from our own failures.
const statusClientClosedRequest = 499

// slowness is what ?slow= adds to a mock call.
const slowness = 2 * time.Second

// errorPage is filled with status, the status's text, and a sentence for the reader. It names no internals.
const errorPage = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>%[1]d %[2]s</title>
<style>:root { color-scheme: light dark; font-family: system-ui, sans-serif } body { margin: 3rem auto; max-width: 40rem; padding: 0 1rem }</style>
<h1>%[1]d %[2]s</h1>
<p>%[3]s</p>
<p>Trace: {{trace}}</p>
</html>
`

// pagePolicy lets a page have its own style and nothing else: no script, and no frame around it.
const pagePolicy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// redacted names the headers whose values are never logged: who can read logs shall not be able to log in.
var redacted = []string{"Authorization", "Cookie", "Proxy-Authorization", "X-Api-Key"}

// web is how this service speaks HTTP: it logs requests, and answers with pages.
type web struct {
	log *slog.Logger

	traceLink string
}

// logRequest logs the request with all its headers, names in lower case, several values joined with a comma.
func (s *web) logRequest(ctx context.Context, r *http.Request) {
	if !s.log.Enabled(ctx, slog.LevelInfo) {
		return
	}
	headers := make([]slog.Attr, 0, len(r.Header))
	for name, values := range r.Header {
		value := strings.Join(values, ", ")
		if slices.Contains(redacted, name) {
			value = "[redacted]"
		}
		headers = append(headers, slog.String(strings.ToLower(name), value))
	}
	slices.SortFunc(headers, func(a, b slog.Attr) int { return strings.Compare(a.Key, b.Key) })
	s.log.LogAttrs(ctx, slog.LevelInfo, "request",
		slog.String("method", r.Method),
		slog.String("host", r.Host),
		slog.String("path", r.URL.Path),
		slog.String("query", r.URL.RawQuery),
		slog.String("remote_addr", r.RemoteAddr),
		slog.GroupAttrs("headers", headers...))
}

// checkRequest answers what is not a GET of the one page, and says whether to go on.
func (s *web) checkRequest(ctx context.Context, w http.ResponseWriter, r *http.Request) bool {
	switch {
	case r.URL.Path != "/":
		s.fail(ctx, w, http.StatusNotFound, "There is only one page here, and it is at /.", errors.New("no such page"))
		return false
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		s.fail(ctx, w, http.StatusMethodNotAllowed, "This page can only be read.", errors.New("method not allowed"))
		return false
	}
	return true
}

// answer sends page with status.
func (s *web) answer(ctx context.Context, w http.ResponseWriter, status int, page string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Security-Policy", pagePolicy)
	w.Header().Set("Referrer-Policy", "no-referrer")
	page = withTrace(page, s.traceLink, trace.SpanContextFromContext(ctx))
	w.WriteHeader(status)
	if _, err := io.WriteString(w, page); err != nil {
		s.log.WarnContext(ctx, "answer not delivered", "error", err)
	}
}

// fail logs err, here and nowhere else, and tells the caller in a sentence what went wrong.
func (s *web) fail(ctx context.Context, w http.ResponseWriter, status int, sentence string, err error) {
	if ctx.Err() != nil {
		status, err = statusClientClosedRequest, fmt.Errorf("caller hung up: %w", err)
	}
	level := slog.LevelError
	if status < 500 {
		level = slog.LevelWarn
	}
	trace.SpanFromContext(ctx).RecordError(err)
	s.log.Log(ctx, level, "request failed", "status", status, "error", err)
	s.answer(ctx, w, status, fmt.Sprintf(errorPage, status, http.StatusText(status), sentence))
}

// recoverPanics turns a panic in next into a logged 500, so that one bad request neither resets a connection silently
// nor hides from whoever looks for it.
func (s *web) recoverPanics(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			reason := recover()
			if reason == nil {
				return
			}
			if err, ok := reason.(error); ok && errors.Is(err, http.ErrAbortHandler) { // net/http's own way to break off
				panic(reason)
			}
			s.log.ErrorContext(r.Context(), "panic", "stack", string(debug.Stack()))
			s.fail(r.Context(), w, http.StatusInternalServerError, "This is a bug.", fmt.Errorf("panic: %v", reason))
		}()
		next.ServeHTTP(w, r)
	})
}

// wishes are the failures and the slowness that a request asks for, by the dependency's name. A dependency that this
// service does not own is somebody's further down, and the query travels on.
type wishes struct {
	fail, slow []string
}

// decodeWishes reads ?fail= and ?slow= from a raw query.
func decodeWishes(rawQuery string) (wishes, error) {
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return wishes{}, fmt.Errorf("query: %w", err)
	}
	for _, name := range []string{"fail", "slow"} {
		for _, value := range query[name] {
			if value != "redis" && value != "database" {
				return wishes{}, fmt.Errorf("query: %s=%s: want redis or database", name, strconv.Quote(value))
			}
		}
	}
	return wishes{fail: query["fail"], slow: query["slow"]}, nil
}

// mock stands in for a dependency: it takes between min and max, both included.
type mock struct {
	name     string
	min, max time.Duration
}

// call waits as long as the dependency takes, or until ctx ends, and fails when the request wishes so.
func (m mock) call(ctx context.Context, wish wishes) error {
	wait := m.min + rand.N(m.max-m.min+1)
	if slices.Contains(wish.slow, m.name) {
		wait += slowness
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", m.name, context.Cause(ctx))
	}
	if slices.Contains(wish.fail, m.name) {
		return fmt.Errorf("%s: connection refused, as ?fail=%s asked for", m.name, m.name)
	}
	return nil
}

// check says what is wrong with the bounds; limit is the most that the timeouts around them leave.
func (m mock) check(limit time.Duration) error {
	if m.min < 0 || m.max < m.min || m.max > limit {
		return fmt.Errorf("-%[1]s-min %[2]s and -%[1]s-max %[3]s: want 0 <= min <= max <= %[4]s", m.name, m.min, m.max, limit)
	}
	return nil
}
