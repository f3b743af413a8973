// Package collector is the trace store of the run without Docker: it takes spans over OTLP, keeps
// the newest traces in bounded memory, and answers the part of Grafana Tempo's HTTP API that the
// demo uses, so that what reads traces from it reads them from a real Tempo without a change.
//
// Its answers are those that Tempo 3.0.3 was seen to give.
package collector

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc"
)

// maxBytes bounds the estimated memory of stored traces: almost four thousand of the demo's.
const maxBytes = 64 << 20

// Collector receives, keeps and serves traces. All methods may be called from several goroutines.
type Collector struct {
	log      *slog.Logger
	store    *store
	grpc     *grpc.Server
	reading  chan struct{} // an element for each export whose body is in memory
	decoding sync.Mutex    // one of them at a time

	// patience is how long an export over gRPC may take to arrive when it is its turn, lest silent
	// clients hold up the others.
	patience time.Duration
}

// New makes a Collector that listens nowhere yet. Log hears of refused requests and dropped spans.
func New(log *slog.Logger) *Collector {
	c := &Collector{log: log, store: newStore(maxBytes), reading: make(chan struct{}, maxReading), patience: 5 * time.Second}
	c.grpc = c.newGRPCServer()
	return c
}

// ServeGRPC answers OTLP/gRPC on l, and closes it. The error is l's, or nil after Shutdown.
func (c *Collector) ServeGRPC(l net.Listener) error { return c.grpc.Serve(l) }

// OTLPHandler answers trace exports, POST /v1/traces: protobuf or JSON, plain or with gzip.
func (c *Collector) OTLPHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", c.serveOTLP)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "PRI" { // the greeting of HTTP/2, which is gRPC's
			c.log.Warn("export refused", "error", onHTTPPort)
			http.Error(w, onHTTPPort, http.StatusHTTPVersionNotSupported)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// APIHandler answers Tempo's HTTP API.
func (c *Collector) APIHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/ready", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "ready", http.StatusOK) // Tempo's, down to the newline
	})
	mux.HandleFunc("/api/v2/traces/{traceID}", c.serveTrace)
	mux.HandleFunc("/api/search", c.serveSearch)
	return mux
}

// Shutdown lets gRPC exports in flight finish and refuses new ones. The HTTP servers belong to the
// caller. When ctx ends first, Shutdown cuts the connections and returns its error.
func (c *Collector) Shutdown(ctx context.Context) error {
	defer context.AfterFunc(ctx, c.grpc.Stop)()
	c.grpc.GracefulStop()
	return ctx.Err()
}
