// Package collector is the trace store of the run without Docker: it takes spans and log lines over
// OTLP, keeps the newest traces with theirs in bounded memory, and answers the parts of the HTTP APIs of
// Grafana Tempo and Loki that the demo uses, so that what reads from it reads from real ones without a
// change.
//
// Its answers are those that Tempo 3.0.3 was seen to give.
package collector

import (
	"log/slog"
	"net/http"
	"strings"
	"sync"
)

// maxBytes bounds the estimated memory of stored traces: more than two thousand of the demo's with their
// log lines, almost four thousand without.
const maxBytes = 64 << 20

// Collector receives, keeps and serves traces. All methods may be called from several goroutines.
type Collector struct {
	log      *slog.Logger
	store    *store
	reading  chan struct{} // an element for each export whose body is in memory
	decoding sync.Mutex    // one of them at a time
}

// New makes a Collector that listens nowhere. Log hears of refused requests and dropped spans.
func New(log *slog.Logger) *Collector {
	return &Collector{log: log, store: newStore(maxBytes), reading: make(chan struct{}, maxReading)}
}

// OTLPHandler answers exports of traces, logs and metrics: POST /v1/traces and its like, protobuf or JSON,
// plain or with gzip, and gRPC, for which the server has to have HTTP/2. How long a body may take is up to the server's ReadTimeout.
func (c *Collector) OTLPHandler() http.Handler {
	mux := http.NewServeMux()
	for _, s := range signals {
		mux.HandleFunc("POST /v1/"+s.name, func(w http.ResponseWriter, r *http.Request) { c.serveOTLP(s, w, r) })
	}
	grpcServer := c.newGRPC()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case c.reading <- struct{}{}:
			defer func() { <-c.reading }()
		case <-r.Context().Done():
			return // so is the client
		}
		if strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
			r.Body = http.MaxBytesReader(w, r.Body, maxRequestBytes+8) // with its frame: gRPC's server reads without a bound
			grpcServer.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// APIHandler answers Tempo's HTTP API, and Loki's.
func (c *Collector) APIHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/ready", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "ready", http.StatusOK) // Tempo's, down to the newline
	})
	mux.HandleFunc("/api/v2/traces/{traceID}", c.serveTrace)
	mux.HandleFunc("/api/search", c.serveSearch)
	mux.HandleFunc("/loki/api/v1/query_range", c.serveLines)
	return mux
}
