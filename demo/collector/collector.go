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
	"sync/atomic"

	"google.golang.org/grpc"
)

// defaultMaxBytes holds almost four thousand traces of the demo.
const defaultMaxBytes = 64 << 20

// Options configure a Collector. The zero value is ready to use.
type Options struct {
	// MaxBytes bounds the memory that stored traces take, in bytes, as estimated from the spans; 0
	// means 64 MiB. When it is reached, the trace that has received nothing for the longest time
	// goes first. One trace may take a quarter of it, so that it cannot push out all others.
	MaxBytes int64
	// Logger hears about refused requests and dropped spans; nil discards.
	Logger *slog.Logger
}

// Collector receives, keeps and serves traces. All methods may be called from several goroutines.
type Collector struct {
	log     *slog.Logger
	store   *store
	grpc    *grpc.Server
	stopped atomic.Bool

	decoding chan struct{} // an element for each export that is decoded
}

// New makes a Collector that listens nowhere yet.
func New(o Options) *Collector {
	if o.MaxBytes <= 0 {
		o.MaxBytes = defaultMaxBytes
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Collector{log: o.Logger, store: newStore(o.MaxBytes), decoding: make(chan struct{}, maxDecoding)}
	c.grpc = c.newGRPCServer()
	return c
}

// ServeGRPC answers OTLP/gRPC trace exports on l. It returns nil after Shutdown, and otherwise the
// listener's error. It closes l.
func (c *Collector) ServeGRPC(l net.Listener) error {
	return c.grpc.Serve(l)
}

// OTLPHandler answers OTLP/HTTP trace exports, POST /v1/traces, as protobuf or JSON, plain or with
// gzip.
func (c *Collector) OTLPHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", c.serveOTLP)
	return mux
}

// APIHandler answers Tempo's HTTP API.
func (c *Collector) APIHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/ready", c.serveReady)
	mux.HandleFunc("/api/v2/traces/{traceID}", c.serveTrace)
	mux.HandleFunc("/api/search", c.serveSearch)
	return mux
}

// Shutdown lets gRPC exports in flight finish and refuses new ones; /ready answers 503 from now on.
// The HTTP servers belong to the caller. When ctx ends first, Shutdown cuts the connections and
// returns its error.
func (c *Collector) Shutdown(ctx context.Context) error {
	c.stopped.Store(true)
	done := make(chan struct{})
	go func() {
		c.grpc.GracefulStop()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		c.grpc.Stop() // and no more waiting: done also waits for handlers
		return ctx.Err()
	}
}
