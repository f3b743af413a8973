// Command uservice4 is uservice2 with OpenTelemetry: its traces show where the time goes.
//
// Read this file: it is the lesson. otel.go sets OpenTelemetry up; your own service takes a
// copy of it and of the otel_*.go beside it. You may skip config.go, server.go, web.go and mock.go, which hardly differ.
package main

import (
	"context"
	_ "embed"
	"flag"
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// handleIncomingCall asks the database and answers with a page.
func (s *service) handleIncomingCall(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	defer s.recoverPanic(ctx, w)
	span := trace.SpanFromContext(ctx)
	setTraceResponse(w.Header(), span.SpanContext())
	s.logRequest(ctx, r)
	if !s.checkRequest(ctx, w, r) {
		return
	}
	wish, err := decodeWishes(r.URL.RawQuery)
	if err != nil {
		s.fail(ctx, w, http.StatusBadRequest, "fail and slow take redis or database.", err)
		return
	}
	span.AddEvent("Request decoded!", trace.WithAttributes(attribute.Bool("happened", true)))
	if err := s.callDatabase(ctx, wish); err != nil {
		s.fail(ctx, w, http.StatusInternalServerError, "The database did not answer.", err)
		return
	}
	span.SetStatus(codes.Ok, "")
	s.answer(ctx, w, http.StatusOK, helloWorld)
}

// callDatabase is a mock: it takes as long as a query that misses its index would.
func (s *service) callDatabase(ctx context.Context, wish wishes) (err error) {
	// The database sends no spans: only this span shows how long the query took. So it ends when the database answers.
	ctx, span := s.tracer.Start(ctx, "database_call", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		semconv.DBSystemNamePostgreSQL, semconv.DBQueryText("SELECT text FROM greetings WHERE language = $1")))
	defer endSpan(span, &err)
	return s.database.call(ctx, wish)
}

// service answers requests after it has asked its database.
type service struct {
	web

	tracer trace.Tracer
}

func newService(conf config, log *slog.Logger) *service {
	return &service{
		web: web{conf, log},

		tracer: otel.Tracer(scopeName),
	}
}

func (s *service) handler() http.Handler {
	var handler http.Handler = http.HandlerFunc(s.handleIncomingCall)
	handler = otelhttp.NewHandler(handler, "handle_incoming_call", spanName("handle_incoming_call")...)
	return handler
}

//go:embed hello-world.html
var helloWorld string

// serviceConfig is what only this service has to be told.
type serviceConfig struct {
	database mock
}

func (c *serviceConfig) register(flags *flag.FlagSet) {
	c.database.name = "database"
	flags.DurationVar(&c.database.min, "database-min", 1000*time.Millisecond, "least `duration` of the mock database query")
	flags.DurationVar(&c.database.max, "database-max", 1999*time.Millisecond, "greatest `duration` of the mock database query")
}

func (c *serviceConfig) check() error {
	return c.database.check(writeTimeout - slowness - time.Second)
}
