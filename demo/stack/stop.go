package stack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"example.com/grafana-tempo-go-demo/demo/process"
	"example.com/grafana-tempo-go-demo/demo/services"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// flushTimeout is for the gateway's exporter, and for the collector.
const flushTimeout = 5 * time.Second

// Stop ends the gateway, which finishes what is in flight, the services in the order of the calls,
// then the gateway's last spans, and the collector last. It kills what does not end within
// process.Grace or before ctx. It returns what did not end well. A second call changes nothing.
func (s *Stack) Stop(ctx context.Context) (err error) {
	s.stopOnce.Do(func() { err = s.stop(ctx) })
	return err
}

func (s *Stack) stop(ctx context.Context) error {
	s.end(errStopping)
	var errs []error
	within := func(limit time.Duration, what string, stop func(context.Context) error) {
		ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not done within %s", limit))
		defer cancel()
		if err := stop(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", what, cmp.Or(context.Cause(ctx), err)))
		}
	}
	if s.gateway != nil {
		server := &s.parts[topology.Gateway].server
		within(process.Grace, topology.Gateway, server.Shutdown)
		_ = server.Close() // a request that is still there would hold the gate
		s.gateway.CloseIdleConnections()
	}
	s.gate.Lock() // a change under way comes to its end first, and there will be no other
	defer s.gate.Unlock()
	errs = append(errs, s.stopServices(ctx, s.services))
	if s.provider != nil {
		within(flushTimeout, "gateway's last spans", s.provider.Shutdown)
	}
	if p := s.parts[topology.OTLPGRPC]; p != nil {
		within(flushTimeout, "collector", p.server.Shutdown)
	}
	for _, p := range s.parts { // what is still served has nothing to lose
		_ = p.server.Close()
		_ = p.listener.Close()
	}
	s.running.Wait()
	if err := services.RemoveAll(s.dir); err != nil {
		errs = append(errs, fmt.Errorf("temporary folder: %w", err))
	}
	return errors.Join(errs...)
}
