package stack

import (
	"context"
	"errors"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"

	"example.com/grafana-tempo-go-demo/demo/process"
	"example.com/grafana-tempo-go-demo/demo/services"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// instance is a service in this run.
type instance struct {
	topology.Service
	addr    string           // host:port; the port is 0 for any until the first start
	metrics string           // the same of its metrics, if it is instrumented
	process *process.Process // nil before the first start
}

// find returns a service by its name, or nil.
func (s *Stack) find(name string) *instance {
	i := slices.IndexFunc(s.services, func(svc *instance) bool { return svc.Name == name })
	if i < 0 {
		return nil
	}
	return s.services[i]
}

// environment is what a service gets on top of the runner's own, once those it calls have started.
func (s *Stack) environment(svc *instance, f *active) map[string]string {
	env := services.Environment(svc.Service)
	if upstream := s.find(svc.Upstream); upstream != nil {
		env["UPSTREAM"] = httpURL(upstream.addr).String()
	}
	if svc.Instrumented {
		env["TRACE_LINK"] = s.url(topology.Explorer).String() + "/trace/{trace_id}"
		env["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = s.url(topology.OTLPGRPC).String()
		env["OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"] = s.url(topology.OTLPHTTP).String() + "/v1/logs"
		env["OTEL_EXPORTER_PROMETHEUS_HOST"], env["OTEL_EXPORTER_PROMETHEUS_PORT"], _ = net.SplitHostPort(svc.metrics)
	}
	if list := s.o.Propagators[svc.Name]; list != "" {
		env["OTEL_PROPAGATORS"] = list
	}
	maps.Copy(env, s.o.Env)
	maps.Copy(env, f.Env[svc.Name])
	maps.DeleteFunc(env, func(_, value string) bool { return value == "" })
	return env
}

// startServices starts services under the active fault, one after the other: each is called by none
// before it. A service that ran already has the same ports again.
func (s *Stack) startServices(ctx context.Context, list []*instance) error {
	for _, svc := range list {
		p, err := process.Start(ctx, process.Options{
			Name: svc.Name,
			Path: filepath.Join(s.o.Bin, svc.Name),
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
		svc.process, svc.addr, svc.metrics = p, p.Addr, p.Metrics
		s.running.Go(func() {
			if how, asked := p.Wait(); !asked {
				s.died(svc.Name, how)
			}
		})
	}
	return nil
}

// stopServices stops services, those first that call others.
func (s *Stack) stopServices(ctx context.Context, list []*instance) error {
	var errs []error
	for _, svc := range slices.Backward(list) {
		if svc.process != nil && !svc.process.Ended() {
			errs = append(errs, svc.process.Stop(ctx))
		}
	}
	return errors.Join(errs...)
}
