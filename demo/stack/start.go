package stack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"example.com/grafana-tempo-go-demo/demo/collector"
	"example.com/grafana-tempo-go-demo/demo/discover"
	"example.com/grafana-tempo-go-demo/demo/explorer"
	"example.com/grafana-tempo-go-demo/demo/lab"
	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/local"
	"example.com/grafana-tempo-go-demo/demo/process"
	"example.com/grafana-tempo-go-demo/demo/services"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

const (
	readTimeout = 10 * time.Second // for a client to send its request
	// writeTimeout is from the request's end to the answer's. The gateway may hold a request while
	// services finish others, stop and start again for a fault.
	writeTimeout = 2*process.Grace + process.ReadyTimeout
)

// Start builds and starts everything, and returns when all of it is ready. On an error, such as the
// end of ctx, it leaves no process and no file. Later, ctx means nothing to the stack.
func Start(ctx context.Context, o Options) (*Stack, error) {
	s := &Stack{
		o:      o,
		output: newOutput(o.Logs),
		deaths: make(chan error, 16),
		ledger: ledger.New(ledger.DefaultMaxRecords),
		parts:  map[string]*part{},
	}
	s.fault.Store(&active{})
	s.lab = lab.New(s.change, o.Seed)
	s.log = s.output.logger("demo")
	for _, svc := range topology.Services() {
		s.services = append(s.services, &instance{Service: svc})
	}
	s.alive, s.end = context.WithCancelCause(context.Background())
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.Stop(context.WithoutCancel(ctx)))
	}
	return s, nil
}

func (s *Stack) start(ctx context.Context) (err error) {
	if s.propagator, err = gatewayPropagator(s.o.Propagators[topology.Gateway]); err != nil {
		return err
	}
	// Ports come first, so that nobody waits for a build to hear that one is taken.
	if err := s.listen(); err != nil {
		return err
	}
	if s.o.Bin == "" {
		if s.dir, err = services.Build(ctx, s.o.Messages); err != nil {
			return err
		}
		s.o.Bin = s.dir
	}
	store := collector.New(s.output.logger("collector"))
	for _, door := range []string{topology.OTLPGRPC, topology.OTLPHTTP} { // each takes both
		s.serve(door, local.Only(store.OTLPHandler()))
	}
	s.serve(topology.Tempo, local.Only(store.APIHandler()))
	if err := s.startServices(ctx, s.services); err != nil {
		return err
	}
	if err := s.startGateway(ctx); err != nil {
		return err
	}
	// Last, because it changes what is running.
	s.serve(topology.Explorer, explorer.New(explorer.Options{
		Tempo:   s.url(topology.Tempo),
		Loki:    s.url(topology.Tempo), // the same collector
		Gateway: s.url(topology.Gateway),
		Ledger:  s.ledger,
		Faults:  s.lab,
		Logger:  s.output.logger(topology.Explorer),
	}))
	s.urls = s.allURLs()
	if s.dir == "" {
		return nil
	}
	return discover.Announce(s.dir, s.urls) // gone with the rest of the folder at the end
}

// url is where a part inside this process listens.
func (s *Stack) url(part string) *url.URL { return httpURL(s.parts[part].listener.Addr().String()) }

func httpURL(addr string) *url.URL { return &url.URL{Scheme: "http", Host: reachable(addr)} }

func (s *Stack) allURLs() discover.URLs {
	urls := discover.URLs{
		Gateway:  s.url(topology.Gateway).String(),
		Explorer: s.url(topology.Explorer).String(),
		Tempo:    s.url(topology.Tempo).String(),
		OTLPGRPC: s.url(topology.OTLPGRPC).Host,
		OTLPHTTP: s.url(topology.OTLPHTTP).String(),
		Services: map[string]string{},
		Metrics:  map[string]string{},
	}
	for _, svc := range s.services {
		urls.Services[svc.Name] = httpURL(svc.addr).String()
		if svc.metrics != "" {
			urls.Metrics[svc.Name] = httpURL(svc.metrics).String() + "/metrics"
		}
	}
	return urls
}

// serve runs an HTTP server on a part's listener.
func (s *Stack) serve(name string, h http.Handler) {
	p := s.parts[name]
	p.server = http.Server{
		Handler:        h,
		ReadTimeout:    readTimeout, // of a body too: a client may announce one and never send it
		WriteTimeout:   writeTimeout,
		IdleTimeout:    60 * time.Second,
		MaxHeaderBytes: 64 << 10, // the Jaeger propagator takes 17 times a header's size to judge it
		ErrorLog:       slog.NewLogLogger(s.output.logger(name).Handler(), slog.LevelWarn),
		Protocols:      new(http.Protocols),
		// What may wait unread of a client's requests; the default is a megabyte.
		HTTP2: &http.HTTP2Config{MaxReceiveBufferPerConnection: 64 << 10, MaxReceiveBufferPerStream: 64 << 10},
	}
	p.server.Protocols.SetHTTP1(true)
	p.server.Protocols.SetUnencryptedHTTP2(true) // as on Traefik's entry points, and for gRPC
	s.running.Go(func() {
		if err := p.server.Serve(p.listener); s.alive.Err() == nil {
			s.died(name, fmt.Sprint(err))
		}
	})
}
