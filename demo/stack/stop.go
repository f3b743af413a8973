package stack

import (
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
	if s.gateway != nil {
		errs = append(errs, within(ctx, process.Grace, topology.Gateway, s.parts[topology.Gateway].server.Shutdown))
		s.gateway.CloseIdleConnections()
	}
	s.gate.Lock() // a change under way comes to its end first, and there will be no other
	defer s.gate.Unlock()
	errs = append(errs, s.stopServices(ctx, s.services))
	if s.provider != nil {
		errs = append(errs, within(ctx, flushTimeout, "gateway's last spans", s.provider.Shutdown))
	}
	if p := s.parts[topology.OTLPGRPC]; p != nil && p.server != nil {
		errs = append(errs, within(ctx, flushTimeout, "collector", p.server.Shutdown))
	}
	for _, p := range s.parts { // what is still served has nothing to lose
		if p.server != nil {
			_ = p.server.Close()
		}
		_ = p.listener.Close()
	}
	s.running.Wait()
	if err := services.RemoveAll(s.dir); err != nil {
		errs = append(errs, fmt.Errorf("temporary folder: %w", err))
	}
	return errors.Join(errs...)
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
