package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"testing"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace"
)

// service stands in for the services: otel.go and otel_test.go are theirs too, and test with one what otel.go does for
// requests. It has no page but one that panics when there is no tracer.
type service struct {
	log    *slog.Logger
	tracer trace.Tracer
}

func newTestService(t *testing.T, logs io.Writer) *service {
	t.Helper()
	return &service{log: slog.New(slog.NewJSONHandler(logs, nil)), tracer: otel.Tracer(scopeName)}
}

func (s *service) handler() http.Handler {
	return otelhttp.NewHandler(http.HandlerFunc(s.serve), "handle_incoming_call", spanName("handle_incoming_call"))
}

func (s *service) serve(w http.ResponseWriter, r *http.Request) {
	span := trace.SpanFromContext(r.Context())
	setTraceResponse(w.Header(), span.SpanContext())
	s.log.InfoContext(r.Context(), "request")
	fail := func(status int, err error) {
		span.RecordError(err)
		s.log.ErrorContext(r.Context(), "request failed", "error", err)
		w.WriteHeader(status)
		io.WriteString(w, withTrace(traceMark, "", span.SpanContext()))
	}
	if r.URL.Path != "/" {
		fail(http.StatusNotFound, errors.New("no such page"))
		return
	}
	defer func() {
		if reason := recover(); reason != nil {
			fail(http.StatusInternalServerError, fmt.Errorf("panic: %v", reason))
		}
	}()
	_, call := s.tracer.Start(r.Context(), "call")
	call.End()
}
