package stack

import (
	"context"
	"errors"
	"testing"
)

func TestTheGateClosesBehindTheLastRequest(t *testing.T) {
	o, _, _ := options(t, "")
	s := start(t, o)
	if err := s.gate.Acquire(t.Context(), 1); err != nil { // as a request does
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.closeGate(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("closed for somebody who is gone: %v", err)
	}
	closed := make(chan error)
	go func() { closed <- s.closeGate(t.Context()) }()
	s.leave()
	if err := <-closed; err != nil {
		t.Error(err)
	}
	go func() { closed <- s.closeGate(t.Context()) }() // while somebody else changes services
	s.end(errStopping)
	if err := <-closed; !errors.Is(err, errStopping) {
		t.Errorf("closed for a change during the stop: %v", err)
	}
	s.openGate()
	if err := s.closeGate(t.Context()); !errors.Is(err, errStopping) {
		t.Errorf("closed after the stop began: %v", err)
	}
}
