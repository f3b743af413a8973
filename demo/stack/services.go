package stack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"example.com/grafana-tempo-go-demo/demo/process"
	"example.com/grafana-tempo-go-demo/demo/services"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// portTimeout is how long a service that starts again waits for its port.
const portTimeout = 5 * time.Second

// service is a service in this run.
type service struct {
	topology.Service
	addr    string            // host:port; the port is 0 for any until the first start
	metrics string            // the same of its metrics, if it is instrumented
	env     map[string]string // with which it runs, without the runner's own; nil until it is ready
	process *process.Process  // nil before the first start
}

// find returns a service by its name, or nil.
func (s *Stack) find(name string) *service {
	i := slices.IndexFunc(s.services, func(svc *service) bool { return svc.Name == name })
	if i < 0 {
		return nil
	}
	return s.services[i]
}

// placeServices decides where each service listens and serves its metrics.
func (s *Stack) placeServices() error {
	for _, svc := range s.services {
		l, err := s.open(svc.Name, svc.Addr)
		if err != nil {
			return err
		}
		_ = l.Close() // it is the service's to open
		svc.addr, svc.metrics = l.Addr().String(), svc.Metrics
		if asked := s.o.Addrs[svc.Name]; strings.HasSuffix(asked, ":0") {
			svc.addr, svc.metrics = asked, anyPort
		} else if svc.Instrumented {
			if err := available(svc.metrics); err != nil {
				fmt.Fprintf(s.o.Messages, "%s's metrics: %s %s, so they take a free port instead\n", svc.Name, svc.metrics, reason(err))
				svc.metrics = anyPort
			}
		}
	}
	return nil
}

// environment is what a service gets on top of the runner's own, once those it calls have started.
func (s *Stack) environment(svc *service, f *fault) map[string]string {
	env := services.Environment(svc.Service)
	if upstream := s.find(svc.Upstream); upstream != nil {
		env["UPSTREAM"] = httpURL(upstream.addr).String()
	}
	if svc.Instrumented {
		env["TRACE_LINK"] = s.url(topology.Explorer).String() + "/trace/{trace_id}"
		env["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = s.url(topology.OTLPGRPC).String()
		env["OTEL_EXPORTER_PROMETHEUS_HOST"], env["OTEL_EXPORTER_PROMETHEUS_PORT"], _ = net.SplitHostPort(svc.metrics)
	}
	if s.o.EBPF != "" && !svc.Instrumented { // OBI reads it there; the service does not
		env["OTEL_SERVICE_NAME"] = svc.Name
	}
	env["LOG_LEVEL"] = min(s.o.LogLevel, slog.LevelInfo).String()
	if list := s.o.Propagators[svc.Name]; list != "" {
		env["OTEL_PROPAGATORS"] = list
	}
	maps.Copy(env, s.o.Env)
	for name, value := range f.env[svc.Name] {
		if value == "" {
			delete(env, name)
		} else {
			env[name] = value
		}
	}
	return env
}

// startServices starts services under the active fault and waits until they listen, those that are
// called first, independent ones at the same time. The caller holds changeLock.
func (s *Stack) startServices(ctx context.Context, list []*service) error {
	for _, level := range levels(list) {
		for _, svc := range level {
			if err := s.startService(ctx, svc); err != nil {
				return err
			}
		}
		for _, svc := range level {
			p := svc.process
			addr, err := p.Wait(ctx)
			if err != nil {
				return err
			}
			svc.addr, svc.metrics = addr, cmp.Or(p.Metrics(), svc.metrics)
			svc.env = s.environment(svc, s.fault.Load()) // with the ports that are known now
			s.running.Go(func() {
				<-p.Done()
				if !p.Asked() {
					s.died(p.Name(), p.How())
				}
			})
		}
	}
	return nil
}

// startService starts a service, on the same ports as before if it ran already.
func (s *Stack) startService(ctx context.Context, svc *service) error {
	if svc.process != nil {
		for _, addr := range []string{svc.addr, svc.metrics} {
			awaitPort(ctx, addr)
		}
	}
	p, err := s.starter.Start(process.Options{
		Name: svc.Name,
		Path: services.Program(s.o.Bin, svc.Name),
		// An argument, not a variable: a trace shows it (process.command_args).
		Args: []string{"-addr", svc.addr},
		Env:  services.Merge(os.Environ(), s.environment(svc, s.fault.Load())),
		Stdout: func(line []byte) {
			s.ledger.AddLine(svc.Name, line)
			s.output.line(svc.Name, line)
		},
		Stderr: func(line []byte) { s.output.line(svc.Name, line) },
	})
	if err != nil {
		return err
	}
	svc.process, svc.env = p, nil
	return nil
}

// awaitPort waits for a port that a service has just left: another connection may get its number
// for a while. If it cannot be had in time, the service says so itself.
func awaitPort(ctx context.Context, addr string) {
	for end := time.Now().Add(portTimeout); available(addr) != nil && ctx.Err() == nil && time.Now().Before(end); {
		time.Sleep(50 * time.Millisecond)
	}
}

// stopServices stops services in the order of the calls. The caller holds changeLock.
func (s *Stack) stopServices(ctx context.Context, list []*service) error {
	var errs []error
	for _, level := range slices.Backward(levels(list)) {
		results := make([]error, len(level))
		var stopped sync.WaitGroup
		for i, svc := range level {
			if svc.process != nil {
				stopped.Go(func() { results[i] = svc.process.Stop(ctx) })
			}
		}
		stopped.Wait()
		errs = append(errs, results...)
	}
	return errors.Join(errs...)
}

// levels groups services: those that call none, then those that call one of them.
func levels(list []*service) [][]*service {
	levels := make([][]*service, 2)
	for _, svc := range list {
		level := 0
		if svc.Upstream != "" {
			level = 1
		}
		levels[level] = append(levels[level], svc)
	}
	return levels
}

// lockChanges waits for its turn to change which services run, until ctx ends or the stack stops.
func (s *Stack) lockChanges(ctx context.Context) error {
	select {
	case s.changeLock <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("another change is under way: %w", context.Cause(ctx))
	case <-s.alive.Done():
		return errStopping
	}
	if s.alive.Err() != nil { // select chooses at random
		s.unlockChanges()
		return errStopping
	}
	return nil
}

func (s *Stack) unlockChanges() { <-s.changeLock }
