// Package stack runs the demo without Docker: it builds the four services from the same source as
// the containers, starts them as processes of their own between a collector and a gateway, waits
// until everything answers, and stops it in an order that loses neither requests nor spans.
package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"example.com/grafana-tempo-go-demo/demo/discover"
	"example.com/grafana-tempo-go-demo/demo/gateway"
	"example.com/grafana-tempo-go-demo/demo/lab"
	"example.com/grafana-tempo-go-demo/demo/ledger"
)

// Options say what to run where.
type Options struct {
	// Bin is the folder that services.Build has made; empty builds one, which ends with the stack.
	Bin string
	// Addrs has the host:port of each part for which somebody asked for one; port 0 is any free one.
	// The others get the default of topology.Parts, or another port where that is taken.
	Addrs map[string]string

	// Env is added to the environment of every service, such as REDIS_MIN=0s.
	Env map[string]string
	// Propagators say which formats a part reads and writes, by its name: gateway, or an
	// instrumented service's. The value is as of OTEL_PROPAGATORS; the default is jaeger.
	Propagators map[string]string
	// Seed sets the order in which secret faults come; 0 draws one.
	Seed uint64

	// Logs gets every line of every part in one write, prefixed by the part's name. A terminal gets
	// coloured prefixes and no control characters.
	Logs io.Writer
	// Messages gets the progress of the build, and which parts moved.
	Messages io.Writer
}

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
	deaths chan error

	gateway    *gateway.Gateway
	propagator propagation.TextMapPropagator // of the gateway
	provider   *sdktrace.TracerProvider      // the same
	parts      map[string]*part              // those that run in this process, by name
	services   []*instance                   // in the order to start in; what is in them changes while the gate is closed
	running    sync.WaitGroup                // goroutines

	gate     sync.RWMutex    // see guard
	alive    context.Context // until the stop begins
	end      context.CancelCauseFunc
	stopOnce sync.Once
}

// part is a part of the demo that runs in this process.
type part struct {
	listener net.Listener
	server   http.Server
}

// URLs returns where everything is.
func (s *Stack) URLs() discover.URLs { return s.urls }

// Deaths delivers what ended by itself, with the last line on standard error. The rest goes on.
func (s *Stack) Deaths() <-chan error { return s.deaths }

// died reports a death. If nobody listens, those beyond the channel's capacity are dropped.
func (s *Stack) died(part, how string) {
	select {
	case s.deaths <- fmt.Errorf("%s ended by itself: %s", part, how):
	default:
	}
}

// Ledger returns the newest of what passes the gateway, and what the services log of it.
func (s *Stack) Ledger() *ledger.Ledger { return s.ledger }

var errStopping = errors.New("the demo is stopping")
