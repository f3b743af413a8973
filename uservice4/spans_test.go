package main

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// newServiceFor returns a service whose database takes as long as it is told.
func newServiceFor(database mock) *service {
	database.name = "database"
	return newService(config{serviceConfig: serviceConfig{database: database}}, slog.New(slog.DiscardHandler))
}

func TestSpans(t *testing.T) {
	for name, test := range map[string]struct {
		target string
		want   string
	}{
		"a success": {target: "/", want: `
server handle_incoming_call: Ok http.request.method=GET http.response.status_code=200 url.path=/ url.scheme=http
  event Request decoded! happened=true
  client database_call: Ok db.query.text=SELECT text FROM greetings WHERE language = $1 db.system.name=postgresql
`},
		"the database fails": {target: "/?fail=database", want: `
server handle_incoming_call: Error http.request.method=GET http.response.status_code=500 url.path=/ url.scheme=http
  event Request decoded! happened=true
  event exception exception.message=database: connection refused, as ?fail=database asked for exception.type=*errors.errorString
  client database_call: Error db.query.text=SELECT text FROM greetings WHERE language = $1 db.system.name=postgresql error.type=*errors.errorString
    event exception exception.message=database: connection refused, as ?fail=database asked for exception.type=*errors.errorString
`},
	} {
		t.Run(name, func(t *testing.T) {
			spans := record(t)
			newServiceFor(mock{}).handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, test.target, nil))
			if tree := describe(spans.GetSpans()); tree != test.want[1:] {
				t.Errorf("spans:\n%swant:%s", tree, test.want)
			}
		})
	}
}

func TestACallerWhoHangsUpIsSeenInTheSpans(t *testing.T) {
	spans := record(t)
	ctx, hangUp := context.WithTimeout(t.Context(), time.Millisecond)
	defer hangUp()
	newServiceFor(mock{min: time.Hour, max: time.Hour}).handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
	tree := describe(spans.GetSpans())
	if !strings.Contains(tree, "http.response.status_code=499") || !strings.Contains(tree, "client database_call: Error") {
		t.Errorf("spans:\n%s", tree)
	}
}
