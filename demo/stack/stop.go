package stack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"example.com/grafana-tempo-go-demo/demo/process"
	"example.com/grafana-tempo-go-demo/demo/services"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

const (
	// drainTime lets clients that reuse a connection hear with an answer that it ends.
	drainTime    = 150 * time.Millisecond
	flushTimeout = 5 * time.Second // of the gateway's exporter, and of the collector
)

// Stop ends the gateway, which finishes what is in flight, the services in the order of the calls,
// then the gateway's last spans, and the collector last. It kills what does not end within
// process.Grace or before ctx. It returns what did not end well. A second call changes nothing.
func (s *Stack) Stop(ctx context.Context) (err error) {
	s.stopOnce.Do(func() { err = s.stop(ctx) })
	return err
}

func (s *Stack) stop(ctx context.Context) error {
	s.end(errStopping)
	defer context.AfterFunc(ctx, func() { s.kill(context.Cause(ctx)) })()
	var errs []error
	if s.gateway != nil {
		errs = append(errs, s.stopGateway(ctx))
	}
	// A change under way comes to its end first; there will be no other.
	_ = s.gate.Acquire(context.Background(), places)
	errs = append(errs, s.stopServices(ctx, s.services))
	if s.provider != nil {
		errs = append(errs, within(ctx, flushTimeout, "gateway's last spans", s.provider.Shutdown))
	}
	if s.collector != nil {
		errs = append(errs, within(ctx, flushTimeout, "collector", s.collector.Shutdown))
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

// stopGateway answers what is under way. http.Server.Shutdown closes each connection that carries
// no request at this moment, even while its client sends the next one, which then gets no answer.
// So the listener alone is closed first, and each answer says that its connection ends.
func (s *Stack) stopGateway(ctx context.Context) error {
	p := s.parts[topology.Gateway]
	s.gateway.Drain()
	_ = p.listener.Close()
	select {
	case <-time.After(drainTime):
	case <-ctx.Done():
	}
	defer s.gateway.CloseIdleConnections()
	err := within(ctx, process.Grace, topology.Gateway, p.server.Shutdown)
	if errors.Is(err, net.ErrClosed) { // by the listener: all the rest went well
		return nil
	}
	_ = p.server.Close()
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
