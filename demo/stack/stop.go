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
	pageTimeout  = 2 * time.Second // of the servers that have nothing to lose
)

// Stop ends the gateway, which finishes what is in flight, the services in the order of the calls,
// then the gateway's last spans, and the collector last. It kills what does not end within
// process.Grace or before ctx. It returns what did not end well, also the second time.
func (s *Stack) Stop(ctx context.Context) error {
	s.stopOnce.Do(func() { s.stopErr = s.stop(ctx) })
	return s.stopErr
}

func (s *Stack) stop(ctx context.Context) error {
	s.end(errStopping)
	defer context.AfterFunc(ctx, func() { s.kill(context.Cause(ctx)) })()
	s.changeLock <- struct{}{} // a change under way comes to its end first; there will be no other
	var errs []error
	if s.gateway != nil {
		s.drain(ctx)
		errs = append(errs, s.shutdown(ctx, topology.Gateway, process.Grace))
		s.gateway.CloseIdleConnections()
	}
	s.stopEBPF(ctx)
	errs = append(errs, s.stopServices(ctx, s.services))
	s.starter.Close()
	if s.provider != nil {
		errs = append(errs, within(ctx, flushTimeout, "gateway's last spans", s.provider.Shutdown))
	}
	for _, name := range []string{topology.Explorer, topology.Tempo, topology.OTLPHTTP} {
		// An error is no news: a page that somebody holds open has nothing to lose.
		_ = s.shutdown(ctx, name, pageTimeout)
	}
	if s.collector != nil {
		errs = append(errs, within(ctx, flushTimeout, "collector", s.collector.Shutdown))
	}
	for _, p := range s.parts { // those that never served are still open
		_ = p.listener.Close()
	}
	s.running.Wait()
	if err := services.RemoveAll(s.dir); err != nil {
		errs = append(errs, fmt.Errorf("temporary folder: %w", err))
	}
	return errors.Join(errs...)
}

// drain is the beginning of the gateway's end. http.Server.Shutdown closes each connection that
// carries no request at this moment, even while its client sends the next one, which then gets no
// answer. So the listener alone is closed first, and each answer says that its connection ends.
func (s *Stack) drain(ctx context.Context) {
	s.gateway.Drain()
	_ = s.parts[topology.Gateway].listener.Close()
	select {
	case <-time.After(drainTime):
	case <-ctx.Done():
	}
}

// shutdown stops one of the HTTP servers, by force when its time is over.
func (s *Stack) shutdown(ctx context.Context, name string, limit time.Duration) error {
	p := s.parts[name]
	if p == nil || p.server == nil {
		return nil
	}
	err := within(ctx, limit, name, p.server.Shutdown)
	if errors.Is(err, net.ErrClosed) { // the listener was closed before
		return nil
	}
	if err != nil {
		_ = p.server.Close()
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
