// Command uservice2 is the plain half of a pair: it asks a mock database, which is slow, and cannot
// tell so. uservice4 is the same service with OpenTelemetry.
//
// Read this file: it is the lesson. main.go shows how the service starts and stops. You may skip
// config.go, server.go, web.go and mock.go: they hold what any small service needs.
package main

import (
	"context"
	_ "embed"
	"flag"
	"log/slog"
	"net/http"
	"time"
)

// handleIncomingCall asks the database and answers with a page.
func (s *service) handleIncomingCall(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	defer s.recoverPanic(ctx, w)
	s.logRequest(ctx, r)
	if !s.checkRequest(ctx, w, r) {
		return
	}
	wish, err := decodeWishes(r.URL.RawQuery)
	if err != nil {
		s.fail(ctx, w, http.StatusBadRequest, "fail and slow take redis or database.", err)
		return
	}
	if err := s.callDatabase(ctx, wish); err != nil {
		s.fail(ctx, w, http.StatusInternalServerError, "The database did not answer.", err)
		return
	}
	s.answer(ctx, w, http.StatusOK, helloWorld)
}

// callDatabase is a mock: it takes as long as a query that misses its index would.
func (s *service) callDatabase(ctx context.Context, wish wishes) (err error) {
	return s.database.call(ctx, wish)
}

// service answers requests after it has asked its database.
type service struct {
	web
}

func newService(conf config, log *slog.Logger) *service {
	return &service{
		web: web{conf, log},
	}
}

func (s *service) handler() http.Handler {
	var handler http.Handler = http.HandlerFunc(s.handleIncomingCall)
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
