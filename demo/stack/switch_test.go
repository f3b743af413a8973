package stack

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func TestSwitchingLosesNeitherAnswersNorSpans(t *testing.T) {
	s := start(t, options(t))
	f := s.Faults()
	var mu sync.Mutex
	ids := map[string]bool{}
	var done atomic.Bool
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for !done.Load() && !t.Failed() {
				response := s.ask(t, "uservice3").Header.Get("traceresponse")
				mu.Lock()
				ids[strings.Split(response+"-", "-")[1]] = true
				mu.Unlock()
			}
		})
	}
	// Of these faults each leaves 7 spans. Two switch at a time, and both are served.
	var switchers sync.WaitGroup
	for range 2 {
		switchers.Go(func() {
			for _, name := range []string{"no-service-name", "", "no-service-name", ""} {
				mu.Lock()
				so := len(ids)
				mu.Unlock()
				waitFor(t, "requests", func() bool { mu.Lock(); defer mu.Unlock(); return len(ids) > so+8 || t.Failed() })
				if err := f.Set(name); err != nil {
					t.Error(err)
				}
			}
		})
	}
	switchers.Wait()
	mu.Lock()
	whole := maps.Clone(ids)
	mu.Unlock()
	// Requests that overlap put the kill off; after the last one nothing does.
	if err := f.Set("killed-before-flush"); err != nil {
		t.Fatal(err)
	}
	done.Store(true)
	clients.Wait()
	s.ask(t, "uservice3")
	waitFor(t, "kill", func() bool { return strings.Contains(s.logs(), "killed before it could send its spans") })
	for id := range whole {
		got := 0
		soon(func() bool { got = strings.Count(s.shape(t.Context(), id), "\n") + 1; return got == 7 })
		if got != 7 {
			t.Errorf("trace %s has %d spans", id, got)
		}
	}
}

func TestOnlyWhatMustIsStartedAgain(t *testing.T) {
	s := start(t, options(t))
	for _, tc := range []struct{ name, again string }{
		{"drop-header", ""},
		{"malformed-header", ""},
		{"other-format", "uservice4"},
		{"other-format", ""},
		{"dead-exporter", "uservice3 uservice4"},
		{"drop-header", "uservice3"},
		{"", ""},
		{"not-sampled", "uservice3 uservice4"},
	} {
		before := len(s.logs())
		if err := s.Faults().Set(tc.name); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(startedAgain(s.logs()[before:]), " "); got != tc.again {
			t.Errorf("for %q started again: %q, want %q", tc.name, got, tc.again)
		}
	}
	for _, url := range s.URLs().Services {
		get(t, url, "")
	}
}

func TestServiceThatDoesNotStartAgainIsTriedAgainWithTheNextChange(t *testing.T) {
	o := options(t)
	s := start(t, o)
	o.program(t, "uservice4", false)
	if err := s.Faults().Set("other-format"); err == nil || !strings.Contains(err.Error(), "start uservice4") {
		t.Errorf("%v", err)
	}
	o.program(t, "uservice4", true)
	if err := s.Faults().Set(""); err != nil {
		t.Fatal(err)
	}
	s.ask(t, "uservice4")
}

func TestChangesDuringAndAfterTheStopAreRefused(t *testing.T) {
	s := start(t, options(t))
	s.holdUservice4(t)
	change := make(chan error, 1)
	go func() { change <- s.Faults().Set("other-format") }()
	waitFor(t, "word to uservice4 to stop", func() bool { return strings.Contains(s.logs(), `"msg":"stopping"`) })
	_ = s.Stop(context.Background())
	for when, err := range map[string]error{"under way": <-change, "after the stop": s.Faults().Set("")} {
		if !errors.Is(err, errStopping) {
			t.Errorf("the change %s: %v", when, err)
		}
	}
	s.isGone(t)
}
