// Package stack runs the demo without Docker: it builds the four services from the same source as the containers, starts
// them as processes of their own between a collector and a gateway, waits until everything answers, and stops it in an
// order that loses neither requests nor spans.
package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"example.com/grafana-tempo-go-demo/demo/collector"
	"example.com/grafana-tempo-go-demo/demo/discover"
	"example.com/grafana-tempo-go-demo/demo/explorer"
	"example.com/grafana-tempo-go-demo/demo/gateway"
	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/local"
)

// Grace is how long each part may take to stop before it is killed. The services need at most 20 s: 15 to answer what is
// in flight and 5 to send their spans.
const Grace = 25 * time.Second

const (
	flushTimeout = 5 * time.Second // of the gateway's exporter, and of the collector
	pageTimeout  = 2 * time.Second // of the servers that have nothing to lose
	portTimeout  = 5 * time.Second // for a service's port to be free again

	readTimeout = 10 * time.Second // for a client to send its request
	// writeTimeout is from the request's end to the answer's. The gateway may hold a request while a fault is changed, which
	// takes what is under way, a stop and a start.
	writeTimeout = 2*Grace + readyTimeout
)

// Options say what to run where. The zero value runs the demo on its default addresses, from the repository around the
// working folder, and says nothing.
type Options struct {
	// Root is the repository; empty means that FindRoot looks for it from the working folder.
	Root string
	// Bin is a folder into which Build has put the services; empty builds them into a temporary one.
	Bin string
	// Services is the table; nil means Services(). An entry's Addr is its default: see Addrs.
	Services []Service

	Gateway, Explorer, Tempo, OTLPGRPC, OTLPHTTP Addr
	// Addrs has the addresses of services by name; the others get the table's.
	Addrs map[string]Addr

	// Env is added to the environment of every service, above the table's, such as REDIS_MIN=0s.
	Env map[string]string
	// Propagators overrule which formats a part reads and writes, by its name: gateway, or an instrumented service's. The
	// value is as of OTEL_PROPAGATORS; where there is none it is jaeger.
	Propagators map[string]string
	// LogLevel is the least level of log lines that are shown. The services log at info or below whatever it is.
	LogLevel slog.Level

	// Restart starts a service again that ends by itself. One that does not stay is given up after a few times.
	Restart bool

	// Break is the name of the fault to start with, of Faults(); empty for none. See Stack.Faults for changing it.
	Break string

	// Logs gets every line of every part, prefixed by the part's name; nil drops them. Whole lines are written, one call
	// each.
	Logs io.Writer
	// LogsTerminal tells that Logs is a terminal: prefixes are coloured, and control characters made harmless.
	LogsTerminal bool
	// Messages gets what the runner itself has to say: progress of the build, parts that moved; nil drops it.
	Messages io.Writer
	// MessagesTerminal tells that Messages is a terminal, where a line may be rewritten.
	MessagesTerminal bool
	// Observe is called with each line of a service's standard output, in that service's order; services call it
	// concurrently. It must not keep the slice.
	Observe func(service string, line []byte)
}

// URLs are the addresses of a running stack.
type URLs = discover.URLs

// Death tells of a part that ended though nobody had asked it to.
type Death struct {
	Part string
	How  string // such as "exit status 1: <last line on standard error>"
	// Again tells that the part is started again, as Options.Restart asks for. If that fails for good, there is another
	// Death of it.
	Again bool
}

// Stack is a running demo.
type Stack struct {
	urls   URLs
	o      Options
	out    *sink
	dir    string // temporary, removed at the end
	bin    string
	log    *slog.Logger
	deaths chan Death
	ledger *ledger.Ledger
	active atomic.Pointer[fault]

	listeners map[string]net.Listener
	spawner   *spawner
	gateway   *gateway.Gateway
	gate      *gate
	goodbye   *goodbye
	servers   map[string]*http.Server
	provider  *sdktrace.TracerProvider
	collector *collector.Collector
	serving   sync.WaitGroup

	turn     chan struct{} // full while somebody changes which services run
	children map[string]*child
	addrs    map[string]string // -addr of each service
	metrics  map[string]string // where each serves its metrics, of those that do
	restarts map[string]int    // how often each has been started again in a row, after it ended by itself

	alive    context.Context // until the stop begins
	end      context.CancelCauseFunc
	patience context.Context // until whoever stops it has none left
	hurry    context.CancelCauseFunc
	stopOnce sync.Once
	stopErr  error
}

// ParentGone returns a channel that is closed when the process that started this one has ended. Whoever runs a stack on
// behalf of `go run` needs it: a SIGTERM ends the go command, and not what it runs.
func ParentGone(done <-chan struct{}) <-chan struct{} { return parentGone(done) }

// Start builds what has to be built, starts everything, and returns when all of it is ready. On an error nothing is left
// running, and no file; cancelling ctx is such an error. After that ctx means nothing to the stack.
func Start(ctx context.Context, o Options) (_ *Stack, err error) {
	if o.Services == nil {
		o.Services = Services()
	}
	if o.Messages == nil {
		o.Messages = io.Discard
	}
	if err := checkPropagators(o); err != nil {
		return nil, err
	}
	broken, err := findFault(o.Break)
	if err != nil {
		return nil, err
	}
	if o.Root == "" && o.Bin == "" {
		if o.Root, err = FindRoot("."); err != nil {
			return nil, err
		}
	}
	s := &Stack{
		o:         o,
		out:       newSink(o.Logs, o.LogLevel, o.LogsTerminal),
		deaths:    make(chan Death, len(o.Services)+8),
		listeners: map[string]net.Listener{},
		servers:   map[string]*http.Server{},
		turn:      make(chan struct{}, 1),
		children:  map[string]*child{},
		restarts:  map[string]int{},
		urls:      URLs{Services: map[string]string{}, Metrics: map[string]string{}},
	}
	s.log = s.out.logger("demo")
	s.active.Store(broken)
	upstreams := map[string]string{}
	for _, svc := range o.Services {
		if svc.Upstream != "" {
			upstreams[svc.Name] = svc.Upstream
		}
	}
	s.ledger = ledger.New(ledger.Options{Upstreams: upstreams})
	s.alive, s.end = context.WithCancelCause(context.Background())
	s.patience, s.hurry = context.WithCancelCause(context.Background())
	defer func() {
		if err != nil {
			stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), Grace)
			defer cancel()
			err = errors.Join(err, s.Stop(stopCtx))
		}
	}()

	s.turn <- struct{}{}
	defer s.giveTurn() // before the stop above, should it come to that

	// Ports first: it would be a pity to build for a minute and then to say that one is taken.
	if err := s.listen(); err != nil {
		return nil, err
	}
	if s.addrs, err = s.serviceAddrs(); err != nil {
		return nil, err
	}
	s.metrics = s.metricsAddrs()
	if s.bin = o.Bin; s.bin == "" {
		if s.dir, err = tempDir(); err != nil {
			return nil, err
		}
		if err := Build(ctx, o.Root, s.dir, o.Messages, o.MessagesTerminal); err != nil {
			return nil, err
		}
		s.bin = s.dir
	}
	if err := s.startCollector(); err != nil {
		return nil, err
	}
	s.spawner = newSpawner()
	if err := s.startServices(ctx, o.Services); err != nil {
		return nil, err
	}
	if err := s.startGateway(ctx); err != nil {
		return nil, err
	}
	if s.dir != "" { // gone with the rest of the folder at the end
		if err := discover.Announce(s.dir, s.urls); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// URLs returns where everything is.
func (s *Stack) URLs() URLs { return s.urls }

// Deaths delivers what ended by itself. The rest goes on.
func (s *Stack) Deaths() <-chan Death { return s.deaths }

// died tells of a death. More of them than anybody listens to are not worth a wait.
func (s *Stack) died(d Death) {
	select {
	case s.deaths <- d:
	default:
	}
}

// Ledger returns the record of what passes the gateway and what the services log of it. It keeps the newest.
func (s *Stack) Ledger() *ledger.Ledger { return s.ledger }

// listen opens the addresses of all parts inside this process.
func (s *Stack) listen() error {
	for _, p := range []struct {
		name, fallback string
		addr           Addr
		set            func(string)
	}{
		{"gateway", DefaultGateway, s.o.Gateway, func(a string) { s.urls.Gateway = "http://" + a }},
		{"explorer", DefaultExplorer, s.o.Explorer, func(a string) { s.urls.Explorer = "http://" + a }},
		{"tempo", DefaultTempo, s.o.Tempo, func(a string) { s.urls.Tempo = "http://" + a }},
		{"otlp-grpc", DefaultOTLPGRPC, s.o.OTLPGRPC, func(a string) { s.urls.OTLPGRPC = a }},
		{"otlp-http", DefaultOTLPHTTP, s.o.OTLPHTTP, func(a string) { s.urls.OTLPHTTP = "http://" + a }},
	} {
		l, moved, err := Listen(p.name, p.name+"-addr", p.addr, p.fallback)
		if err != nil {
			return err
		}
		if moved != "" {
			fmt.Fprintln(s.o.Messages, moved)
		}
		s.listeners[p.name] = l
		p.set(reachable(l.Addr().String()))
	}
	return nil
}

// serviceAddrs decides what each service gets as -addr.
func (s *Stack) serviceAddrs() (map[string]string, error) {
	addrs := map[string]string{}
	for _, svc := range s.o.Services {
		a := s.o.Addrs[svc.Name]
		if a.Value == "" {
			a.Value = svc.Addr
		}
		if err := available(a.Value); err != nil {
			if a.Asked {
				return nil, addrError(svc.Name, svc.Name+"-addr", a.Value, err)
			}
			host, _, splitErr := net.SplitHostPort(a.Value)
			if splitErr != nil {
				return nil, fmt.Errorf("%s: %w", svc.Name, CheckAddr(a.Value))
			}
			fmt.Fprintf(s.o.Messages, "%s: %s %s, so it takes a free port instead\n", svc.Name, a.Value, reason(err))
			a.Value = net.JoinHostPort(host, "0")
		}
		addrs[svc.Name] = a.Value
	}
	return addrs, nil
}

// metricsAddrs decides where each service serves its metrics: on a free port if its default is taken, or if the service
// itself may listen on any.
func (s *Stack) metricsAddrs() map[string]string {
	addrs := map[string]string{}
	for _, svc := range s.o.Services {
		if svc.Metrics == "" {
			continue
		}
		addr := svc.Metrics
		err := available(addr)
		if _, port, _ := net.SplitHostPort(s.addrs[svc.Name]); port == "0" || err != nil {
			addr = "127.0.0.1:0"
		}
		if err != nil && addr != s.addrs[svc.Name] {
			fmt.Fprintf(s.o.Messages, "%s's metrics: %s %s, so they take a free port instead\n", svc.Name, svc.Metrics, reason(err))
		}
		addrs[svc.Name] = addr
	}
	return addrs
}

// startCollector starts what takes and shows traces: nothing that sends any may be there before it.
func (s *Stack) startCollector() error {
	s.collector = collector.New(collector.Options{Logger: s.out.logger("collector")})
	grpcListener := s.listeners["otlp-grpc"]
	delete(s.listeners, "otlp-grpc") // the collector closes it
	s.run("collector", func() error { return s.collector.ServeGRPC(grpcListener) })
	s.serve("otlp-http", local.Only(s.collector.OTLPHandler()))
	s.serve("tempo", local.Only(s.collector.APIHandler()))
	tempoURL, err := url.Parse(s.urls.Tempo)
	if err != nil {
		return fmt.Errorf("explorer: %w", err)
	}
	gatewayURL, err := url.Parse(s.urls.Gateway)
	if err != nil {
		return fmt.Errorf("explorer: %w", err)
	}
	var names []string
	for _, svc := range s.o.Services {
		names = append(names, svc.Name)
	}
	slices.Sort(names)
	s.serve("explorer", explorer.New(explorer.Options{
		Tempo:    tempoURL,
		Gateway:  gatewayURL,
		Services: names,
		Ledger:   s.ledger.Handler(),
		Faults:   s.Faults(),
		Logger:   s.out.logger("explorer"),
	}))
	return nil
}

// serve runs an HTTP server on one of the listeners.
func (s *Stack) serve(part string, h http.Handler) {
	l := s.listeners[part]
	delete(s.listeners, part)
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readTimeout,
		ReadTimeout:       readTimeout, // of a body too: a client may announce one and never send it
		WriteTimeout:      writeTimeout,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    64 << 10, // the Jaeger propagator takes 17 times a header's size to judge it
		ErrorLog:          slog.NewLogLogger(s.out.logger(part).Handler(), slog.LevelWarn),
	}
	s.servers[part] = server
	s.run(part, func() error { return server.Serve(l) })
}

// run runs a part of this process that ends only when it is stopped.
func (s *Stack) run(part string, f func() error) {
	s.serving.Add(1)
	go func() {
		defer s.serving.Done()
		err := f()
		if s.alive.Err() == nil {
			s.died(Death{Part: part, How: fmt.Sprint(err)})
		}
	}()
}

// environment is what a service gets on top of the runner's own, under a fault. What depends on addresses is known only
// when those that it calls have been started once.
func (s *Stack) environment(svc Service, f *fault) map[string]string {
	env := maps.Clone(svc.Env)
	if env == nil {
		env = map[string]string{}
	}
	if svc.Upstream != "" {
		env["UPSTREAM"] = s.urls.Services[svc.Upstream]
	}
	if svc.Instrumented {
		env["TRACE_LINK"] = s.urls.Explorer + "/trace/{trace_id}"
		if _, ok := env["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"]; !ok {
			env["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = "http://" + s.urls.OTLPGRPC
		}
	}
	if host, port, err := net.SplitHostPort(s.metrics[svc.Name]); err == nil {
		env["OTEL_EXPORTER_PROMETHEUS_HOST"], env["OTEL_EXPORTER_PROMETHEUS_PORT"] = host, port
	}
	env["LOG_LEVEL"] = min(s.o.LogLevel, slog.LevelInfo).String()
	if list := s.o.Propagators[svc.Name]; list != "" {
		env["OTEL_PROPAGATORS"] = list
	}
	maps.Copy(env, s.o.Env)
	return f.overrule(svc.Name, env)
}

// startServices starts services as the active fault wants them, those that are called before those that call; one that
// calls learns the address of the other from its `listening` line. Services of one level start at the same time. One that
// has run before gets its port again. It is the caller's turn.
func (s *Stack) startServices(ctx context.Context, services []Service) error {
	for _, level := range levels(services) {
		var started []*child
		for _, svc := range level {
			if _, again := s.urls.Services[svc.Name]; again {
				for _, addr := range []string{s.addrs[svc.Name], s.metrics[svc.Name]} {
					if err := s.awaitPort(ctx, svc.Name, addr); err != nil {
						return err
					}
				}
			}
			own := s.environment(svc, s.active.Load())
			// The address is an argument and not a variable, so that a trace shows it: see resource.process.command_args.
			c, err := s.spawner.start(svc.Name, binary(s.bin, svc.Name), []string{"-addr", s.addrs[svc.Name]},
				childEnv(os.Environ(), own), s.out, s.observe)
			if err != nil {
				return err
			}
			c.own = own
			c.restarts = s.restarts[svc.Name]
			s.children[svc.Name] = c
			started = append(started, c)
		}
		for _, c := range started {
			addr, err := c.wait(ctx)
			if err != nil {
				return err
			}
			if _, again := s.urls.Services[c.name]; !again { // afterwards the map is read without a lock
				s.urls.Services[c.name] = "http://" + reachable(addr)
				s.addrs[c.name] = addr
				if c.metrics != "" {
					s.urls.Metrics[c.name] = "http://" + reachable(c.metrics) + "/metrics"
					s.metrics[c.name] = c.metrics
				}
			}
			s.serving.Go(func() { s.watch(c) })
		}
	}
	return nil
}

// observe gets each line of the services' standard output.
func (s *Stack) observe(service string, line []byte) {
	s.ledger.AddLine(service, line)
	if s.o.Observe != nil {
		s.o.Observe(service, line)
	}
}

// awaitPort waits until a port that a service has just left can be had again: a connection that somebody else opens may
// get the number for a while. No address, no wait.
func (s *Stack) awaitPort(ctx context.Context, service, addr string) error {
	if addr == "" {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, portTimeout, fmt.Errorf("somebody else has had the port for %s", portTimeout))
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := available(addr)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s cannot have %s again: %w", service, addr, errors.Join(context.Cause(ctx), err))
		}
	}
}

// stopServices stops services, those that call before those that are called, and returns what did not end well. It is the
// caller's turn.
func (s *Stack) stopServices(ctx context.Context, services []Service) (errs []error) {
	for _, level := range slices.Backward(levels(services)) {
		var wg sync.WaitGroup
		results := make([]error, len(level))
		for i, svc := range level {
			if c := s.children[svc.Name]; c != nil {
				wg.Go(func() { results[i] = c.stop(ctx, Grace) })
			}
		}
		wg.Wait()
		for _, err := range results {
			if err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errs
}

// levels groups services so that each stands in a later group than the one it calls.
func levels(services []Service) [][]Service {
	depth := map[string]int{}
	var groups [][]Service
	for range services {
		for _, svc := range services {
			d := 0
			if svc.Upstream != "" {
				d = depth[svc.Upstream] + 1
			}
			depth[svc.Name] = min(d, len(services)-1)
		}
	}
	for _, svc := range services {
		for len(groups) <= depth[svc.Name] {
			groups = append(groups, nil)
		}
		groups[depth[svc.Name]] = append(groups[depth[svc.Name]], svc)
	}
	return groups
}

// startGateway opens the door, last: from its first answer on, all that a request passes is ready.
func (s *Stack) startGateway(ctx context.Context) error {
	log := s.out.logger("gateway")
	// The SDK tells its troubles to a global handler, whose default writes past our prefixes.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("telemetry", "error", err.Error()) }))
	exporter, err := otlptracegrpc.New(ctx,
		otlptracegrpc.WithEndpoint(s.urls.OTLPGRPC),
		otlptracegrpc.WithInsecure(),
		// gRPC's own back-off grows to two minutes; the collector may be back long before.
		otlptracegrpc.WithDialOption(grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
		}), grpc.WithNoProxy()),
		// Nor is the exporter's own, which begins with 5 s.
		otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{
			Enabled: true, InitialInterval: 250 * time.Millisecond, MaxInterval: time.Second, MaxElapsedTime: time.Minute,
		}),
	)
	if err != nil {
		return fmt.Errorf("gateway's exporter: %w", err)
	}
	// A resource that could not be detected completely is used as far as it goes.
	res, err := resource.New(ctx, resource.WithHost(), resource.WithOS(), resource.WithProcess(), resource.WithTelemetrySDK(),
		resource.WithAttributes(semconv.ServiceName("gateway")))
	if err != nil {
		log.Warn("incomplete resource", "error", err.Error())
	}
	s.provider = sdktrace.NewTracerProvider(
		sdktrace.WithResource(res),
		sdktrace.WithSampler(sampler{
			Sampler: sdktrace.ParentBased(sdktrace.AlwaysSample()),
			off:     func() bool { return s.active.Load().unsampled },
		}),
		// As the services: complete within a quarter of a second, and nothing lost under load.
		sdktrace.WithBatcher(exporter, sdktrace.WithBatchTimeout(200*time.Millisecond),
			sdktrace.WithMaxQueueSize(8192), sdktrace.WithMaxExportBatchSize(2048)),
	)
	propagator, err := propagatorOf(s.o.Propagators["gateway"])
	if err != nil {
		return err
	}
	routes := map[string]*url.URL{}
	services := map[string]Service{}
	for _, svc := range s.o.Services {
		u, err := url.Parse(s.urls.Services[svc.Name])
		if err != nil {
			return fmt.Errorf("gateway's route to %s: %w", svc.Name, err)
		}
		routes[svc.Host()] = u
		services[svc.Host()] = svc
	}
	s.gateway = gateway.New(gateway.Options{
		Routes:         routes,
		TracerProvider: s.provider,
		Propagator:     propagator,
		Logger:         log,
		Record: func(host string, r ledger.ProxyRecord) {
			r.Service = services[host].Name
			s.ledger.AddProxy(r)
		},
		Tamper: s.tamper,
	})
	s.gate = &gate{
		next:    s.gateway,
		guarded: func(r *http.Request) bool { return services[gateway.HostName(r.Host)].Instrumented },
		last:    func() bool { return s.active.Load().kills != "" && s.alive.Err() == nil },
		then:    s.answered,
	}
	s.goodbye = &goodbye{next: s.gate, door: s.listeners["gateway"]}
	s.listeners["gateway"] = s.goodbye.listener()
	s.serve("gateway", s.goodbye)
	return nil
}

// Stop ends everything: the gateway, which finishes what is in flight, the services in the order of the calls, then what
// is left of the gateway's spans, and the collector last. It returns what did not end well. A part that does not end
// within Grace, or whose time ctx cuts short, is killed. Stopping twice is stopping once.
func (s *Stack) Stop(ctx context.Context) error {
	s.stopOnce.Do(func() { s.stopErr = s.stop(ctx) })
	return s.stopErr
}

func (s *Stack) stop(ctx context.Context) error {
	s.end(errStopping)
	defer context.AfterFunc(ctx, func() { s.hurry(context.Cause(ctx)) })()
	s.turn <- struct{}{} // a change that is under way comes to its end first; there will be no other
	var errs []error
	if s.goodbye != nil {
		s.goodbye.say(ctx)
	}
	errs = append(errs, s.shutdown(ctx, "gateway", Grace))
	if s.gateway != nil {
		s.gateway.CloseIdleConnections()
	}
	errs = append(errs, s.stopServices(ctx, s.o.Services)...)
	if s.spawner != nil {
		s.spawner.close()
	}
	if s.provider != nil {
		errs = append(errs, within(ctx, flushTimeout, "gateway's last spans", s.provider.Shutdown))
	}
	for _, part := range []string{"explorer", "tempo", "otlp-http"} {
		errs = append(errs, s.shutdown(ctx, part, pageTimeout))
	}
	if s.collector != nil {
		errs = append(errs, within(ctx, flushTimeout, "collector", s.collector.Shutdown))
	}
	for _, l := range s.listeners { // opened, and never served on
		_ = l.Close()
	}
	s.serving.Wait()
	if s.dir != "" {
		if err := removeAll(s.dir); err != nil {
			errs = append(errs, fmt.Errorf("temporary folder: %w", err))
		}
	}
	return errors.Join(errs...)
}

// shutdown stops one of the HTTP servers, by force when its time is over.
func (s *Stack) shutdown(ctx context.Context, part string, limit time.Duration) error {
	server := s.servers[part]
	if server == nil {
		return nil
	}
	err := within(ctx, limit, part, server.Shutdown)
	if err != nil {
		_ = server.Close()
		if part != "gateway" {
			return nil // a page that somebody holds open has nothing to lose
		}
	}
	return err
}

// within gives a shutdown a time of its own.
func within(ctx context.Context, limit time.Duration, what string, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not done within %s", limit))
	defer cancel()
	if err := f(ctx); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("stop %s: %w", what, err)
	}
	return nil
}

// Describe lists every address, and what to do next, for people.
func Describe(u URLs) string {
	port := ""
	if g, err := url.Parse(u.Gateway); err == nil && g.Port() != "80" {
		port = ":" + g.Port()
	}
	var b strings.Builder
	row := func(what, url, about string) { fmt.Fprintf(&b, "  %-10s %-38s %s\n", what, url, about) }
	about := map[string]string{
		"uservice1": "plain; calls uservice2",
		"uservice2": "plain",
		"uservice3": "instrumented; calls uservice4",
		"uservice4": "instrumented",
	}
	for _, name := range slices.Sorted(maps.Keys(u.Services)) {
		row(name, "http://"+name+".localhost"+port+"/", about[name]+"; past the gateway: "+u.Services[name])
	}
	row("gateway", u.Gateway, "routes by host name and starts each trace")
	row("explorer", u.Explorer, "the page: calls, traces, the header's way, faults")
	row("tempo", u.Tempo, "the collector speaks Tempo's HTTP API here")
	row("otlp", u.OTLPGRPC+" "+strings.TrimPrefix(u.OTLPHTTP, "http://"), "gRPC and HTTP, for programs of your own")
	for _, name := range slices.Sorted(maps.Keys(u.Metrics)) {
		row("metrics", u.Metrics[name], name+"'s, as Prometheus fetches them")
	}
	fmt.Fprintf(&b, `
What next:
  1. Open http://uservice1.localhost%[1]s/ in a browser. It takes a second or two, and nothing says why.
  2. Open http://uservice3.localhost%[1]s/ and follow the link to its trace: there is the why.
  3. The same with curl:     curl -i -H 'Host: uservice3.localhost' %[2]s/
  4. Let something fail:     http://uservice3.localhost%[1]s/?fail=database
     or take long:           http://uservice3.localhost%[1]s/?slow=redis
  5. Break the telemetry:    %[3]s has the faults; docs/lab.md makes exercises of them
`, port, u.Gateway, u.Explorer)
	return b.String()
}
