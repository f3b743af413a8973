// Package stack runs the demo without Docker: it builds the four services from the same source as
// the containers, starts them as processes of their own between a collector and a gateway, waits
// until everything answers, and stops it in an order that loses neither requests nor spans.
package stack

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"golang.org/x/sync/semaphore"

	"example.com/grafana-tempo-go-demo/demo/collector"
	"example.com/grafana-tempo-go-demo/demo/discover"
	"example.com/grafana-tempo-go-demo/demo/gateway"
	"example.com/grafana-tempo-go-demo/demo/lab"
	"example.com/grafana-tempo-go-demo/demo/ledger"
)

// Stack is a running demo.
type Stack struct {
	o      Options
	urls   discover.URLs
	output *output
	log    *slog.Logger
	dir    string // temporary, removed at the end; empty where Options.Bin has the programs
	ledger *ledger.Ledger
	fault  atomic.Pointer[active]
	lab    *lab.Lab
	deaths chan Death

	collector  *collector.Collector
	gateway    *gateway.Gateway
	propagator propagation.TextMapPropagator // of the gateway
	provider   *sdktrace.TracerProvider      // the same
	parts      map[string]*part              // those that run in this process, by name
	services   []*instance                    // in the order to start in; what is in them changes while the gate is closed
	running    sync.WaitGroup                // goroutines

	gate *semaphore.Weighted // of places; see closeGate

	alive    context.Context // until the stop begins
	end      context.CancelCauseFunc
	graceful context.Context // until services that still stop are to be killed
	kill     context.CancelCauseFunc
	stopOnce sync.Once
}

// part is a part of the demo that runs in this process.
type part struct {
	listener net.Listener
	server   *http.Server // nil before it serves, and for OTLP over gRPC
}

// Death is the end of a part that nobody asked for.
type Death struct {
	Part string
	How  string // such as "exit status 1: <last line on standard error>"
}

// URLs returns where everything is.
func (s *Stack) URLs() discover.URLs { return s.urls }

// Deaths delivers what ended by itself. The rest goes on.
func (s *Stack) Deaths() <-chan Death { return s.deaths }

// died reports a death. If nobody listens, those beyond the channel's capacity are dropped.
func (s *Stack) died(part, how string) {
	select {
	case s.deaths <- Death{part, how}:
	default:
	}
}

// Ledger returns the newest of what passes the gateway, and what the services log of it.
func (s *Stack) Ledger() *ledger.Ledger { return s.ledger }

var errStopping = errors.New("the demo is stopping")
