package stack

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
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
			for !done.Load() {
				a, err := s.ask(t.Context(), "uservice3")
				if err != nil || a.StatusCode != http.StatusOK {
					t.Errorf("answered %v, %v", a.Response, err)
					return
				}
				mu.Lock()
				ids[strings.Split(a.Header.Get("traceresponse"), "-")[1]] = true
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
				if err := f.Set(t.Context(), name); err != nil {
					t.Error(err)
				}
			}
		})
	}
	switchers.Wait()
	done.Store(true)
	clients.Wait()
	if err := f.Set(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	for id := range ids {
		got := 0
		soon(func() bool { got = strings.Count(s.shape(t.Context(), id), "\n") + 1; return got == 7 })
		if got != 7 {
			t.Errorf("trace %s has %d spans", id, got)
		}
	}
	t.Logf("%d requests", len(ids))
}

func TestKillingLosesNoAnswers(t *testing.T) {
	s, logs := startReal(t)
	if err := s.Faults().Set(t.Context(), "killed-before-flush"); err != nil {
		t.Fatal(err)
	}
	const clients, requests = 3, 4
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for range requests {
				if a, err := s.ask(t.Context(), "uservice3"); err != nil || a.StatusCode != http.StatusOK {
					t.Errorf("answered %v, %v", a.Response, err)
				}
			}
		})
	}
	all.Wait()
	const killed = "killed before it could send its spans"
	// Requests that overlap put the kill off; after the last one nothing does.
	soon(func() bool { return strings.Contains(logs.String(), killed) })
	if err := s.Faults().Set(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	s.judge(t, []string{wholeTrace}, 0, wholeLedger, "")
	if n := strings.Count(logs.String(), killed); n < 1 || n > clients*requests {
		t.Errorf("killed %d times", n)
	}
}

func TestUnknownFaultIsAnError(t *testing.T) {
	o, _, _ := options(t, "")
	s := start(t, o)
	o.Break = "drop-haeder"
	_, startErr := Start(t.Context(), o)
	for _, err := range []error{startErr, s.Faults().Set(t.Context(), "drop-haeder")} {
		if err == nil || !strings.Contains(err.Error(), `there is no fault "drop-haeder"`) {
			t.Errorf("%v", err)
		}
	}
}

func TestFaultFromTheStart(t *testing.T) {
	o, _, _ := options(t, "")
	o.Break = "not-sampled"
	s := start(t, o)
	if _, body := get(t, s.URLs().Gateway, "uservice4.localhost"); !strings.Contains(body, "OTEL_TRACES_SAMPLER=parentbased_always_on") || !strings.Contains(body, ":0:0 ") {
		t.Errorf("uservice4 got %s", body)
	}
	if s.Faults().State().Active != "not-sampled" {
		t.Errorf("active is %q", s.Faults().State().Active)
	}
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
		if err := s.Faults().Set(t.Context(), tc.name); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(startedAgain(logs.String()[before:]), " "); got != tc.again {
			t.Errorf("for %q started again: %q, want %q", tc.name, got, tc.again)
		}
	}
	for name, url := range urls {
		if status, body := get(t, url, ""); status != http.StatusOK || !strings.HasPrefix(body, name) {
			t.Errorf("%s is not at %s any more: %d %s", name, url, status, body)
		}
	}
}

func TestServiceThatDoesNotStartAgainIsTriedAgainWithTheNextChange(t *testing.T) {
	o, _, _ := options(t, "uservice4=die with tracecontext")
	s := start(t, o)
	err := s.Faults().Set(t.Context(), "other-format")
	if err == nil || !strings.Contains(err.Error(), "uservice4 ended before it was ready: exit status 3") {
		t.Errorf("%v", err)
	}
	if err := s.Faults().Set(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if status, _ := get(t, s.URLs().Gateway, "uservice4.localhost"); status != http.StatusOK {
		t.Errorf("uservice4 answers %d", status)
	}
}

func TestChangeDuringTheStop(t *testing.T) {
	o, _, _ := options(t, "uservice4=ignore") // so that the change hangs
	s := start(t, o)
	before := s.find("uservice4").process
	change := make(chan error, 1)
	go func() { change <- s.Faults().Set(context.Background(), "other-format") }()
	waitFor(t, "word to uservice4 to stop", before.Asked)
	impatient, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := s.Faults().Set(impatient, ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a change during a change: %v", err)
	}
	hard, kill := context.WithCancelCause(context.Background())
	kill(errors.New("asked to stop at once"))
	_ = s.Stop(hard)
	if err := <-change; !errors.Is(err, errStopping) {
		t.Errorf("the change that was under way: %v", err)
	}
	if err := s.Faults().Set(context.Background(), ""); !errors.Is(err, errStopping) {
		t.Errorf("a change after the stop: %v", err)
	}
	for name, url := range s.URLs().Services {
		if !refused(url) {
			t.Errorf("%s still answers", name)
		}
	}
}

func TestAChangeThatWaitsForAFailedStartIsRefused(t *testing.T) {
	o, _, _ := options(t, "uservice4=die early")
	asked := make(chan error, 1)
	var s *Stack
	o.Logs = writerFunc(sync.OnceFunc(func() { // the first line of a service
		go func() { asked <- s.Faults().Set(context.Background(), "drop-header") }()
	}))
	s = newStack(o)
	err := s.start(t.Context())
	_ = s.Stop(context.Background())
	if err == nil {
		t.Fatal("it started without uservice4")
	}
	if err := <-asked; !errors.Is(err, errStopping) {
		t.Errorf("got %v, want %v", err, errStopping)
	}
}

// writerFunc is called at each write.
type writerFunc func()

func (f writerFunc) Write(p []byte) (int, error) {
	f()
	return len(p), nil
}
