package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/trace"
)

const statusClientClosedRequest = 499 // what nginx and Traefik log for a caller that hung up

// pagePolicy lets a page have its own style and nothing else: no script, and no frame around it.
const pagePolicy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

//go:embed error.html
var errorPage string // a format: takes a status, its text, and a sentence that names no internals

// redacted names the headers whose values are never logged: reading logs must not help to log in.
var redacted = []string{"Authorization", "Cookie", "Proxy-Authorization", "X-Api-Key"}

// web is how this service speaks HTTP: it logs requests and answers with pages.
type web struct {
	config
	log *slog.Logger
}

// logRequest logs the request with all its headers: names in lower case, several values joined.
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

// checkRequest answers whatever is not a GET of the one page, and reports whether to go on.
func (s *web) checkRequest(ctx context.Context, w http.ResponseWriter, r *http.Request) bool {
	switch {
	case r.URL.Path != "/":
		s.fail(ctx, w, http.StatusNotFound, "There is only one page here, and it is at /.", errors.New("no such page"))
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		s.fail(ctx, w, http.StatusMethodNotAllowed, "This page can only be read.", errors.New("method not allowed"))
	default:
		return true
	}
	return false
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
	level := slog.LevelWarn
	if status >= 500 {
		level = slog.LevelError
		trace.SpanFromContext(ctx).RecordError(err)
	}
	s.log.Log(ctx, level, "request failed", "status", status, "error", err)
	s.answer(ctx, w, status, fmt.Sprintf(errorPage, status, http.StatusText(status), sentence))
}

// recoverPanic, when deferred, turns a panic into a logged 500 instead of a broken connection.
func (s *web) recoverPanic(ctx context.Context, w http.ResponseWriter) {
	if reason := recover(); reason != nil {
		s.log.ErrorContext(ctx, "panic", "stack", string(debug.Stack()))
		s.fail(ctx, w, http.StatusInternalServerError, "This is a bug.", fmt.Errorf("panic: %v", reason))
	}
}
