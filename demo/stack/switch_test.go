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
	s, _ := startReal(t)
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
	done.Store(true)
	clients.Wait()
	for id := range ids {
		got := 0
		soon(func() bool { got = strings.Count(s.shape(t.Context(), id), "\n") + 1; return got == 7 })
		if got != 7 {
			t.Errorf("trace %s has %d spans", id, got)
		}
	}
}

func TestKillingLosesNoAnswers(t *testing.T) {
	s, logs := startReal(t)
	if err := s.Faults().Set("killed-before-flush"); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			for range 4 {
				s.ask(t, "uservice3")
			}
		})
	}
	all.Wait()
	// Requests that overlap put the kill off; after the last one nothing does.
	waitFor(t, "kill", func() bool { return strings.Contains(logs.String(), "killed before it could send its spans") })
	if err := s.Faults().Set(""); err != nil {
		t.Fatal(err)
	}
	s.judge(t, []string{wholeTrace}, 0, wholeLedger, "")
}

func TestOnlyWhatMustIsStartedAgain(t *testing.T) {
	o, logs, _ := options(t, "")
	s := start(t, o)
	urls := maps.Clone(s.URLs().Services)
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
		before := len(logs.String())
		if err := s.Faults().Set(tc.name); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(startedAgain(logs.String()[before:]), " "); got != tc.again {
			t.Errorf("for %q started again: %q, want %q", tc.name, got, tc.again)
		}
	}
	for name, url := range urls {
		if page := get(t, url, "").page; !strings.HasPrefix(page, name) {
			t.Errorf("%s is not at %s any more: %s", name, url, page)
		}
	}
}

func TestServiceThatDoesNotStartAgainIsTriedAgainWithTheNextChange(t *testing.T) {
	o, _, _ := options(t, "uservice4=die with tracecontext")
	s := start(t, o)
	err := s.Faults().Set("other-format")
	if err == nil || !strings.Contains(err.Error(), "uservice4 ended before it was ready: exit status 3") {
		t.Errorf("%v", err)
	}
	if err := s.Faults().Set(""); err != nil {
		t.Fatal(err)
	}
	s.ask(t, "uservice4")
}

func TestChangesDuringAndAfterTheStopAreRefused(t *testing.T) {
	o, _, _ := options(t, "uservice4=ignore") // so that the change hangs
	s := start(t, o)
	before := s.find("uservice4").process
	change := make(chan error, 1)
	go func() { change <- s.Faults().Set("other-format") }()
	waitFor(t, "word to uservice4 to stop", before.Asked)
	_ = s.Stop(context.Background())
	for when, err := range map[string]error{"under way": <-change, "after the stop": s.Faults().Set("")} {
		if !errors.Is(err, errStopping) {
			t.Errorf("the change %s: %v", when, err)
		}
	}
	s.isGone(t)
}
