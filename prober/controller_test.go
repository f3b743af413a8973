package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric/noop"
)

// Without this, what controllers of earlier tests measure would appear in the first provider that a
// later test sets.
func init() { otel.SetMeterProvider(noop.NewMeterProvider()) }

// testConfig has two targets, and a timeout that is easy to reckon with.
var testConfig = config{
	hosts: hostList{"a", "b"}, interval: 15 * time.Second, timeout: 10 * time.Second, liveAfter: 2 * time.Minute,
	backoff: backoffPolicy{time.Second, 30 * time.Second},
}

type checkFunc = func(ctx context.Context, target string) error

func newTestController(t *testing.T, conf config, check checkFunc, logs io.Writer) *controller {
	t.Helper()
	c, err := newController(conf, check, slog.New(withTelemetry(slog.NewJSONHandler(logs, nil))))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// runFor runs the controller's loop for that long, and until what is in flight then has ended.
func runFor(t *testing.T, c *controller, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	c.run(ctx)
}

// takes returns a check that succeeds after that long, and appends to calls who was checked, and when.
func takes(d time.Duration, calls *[]string) checkFunc {
	start := time.Now()
	return func(_ context.Context, target string) error {
		*calls = append(*calls, fmt.Sprint(target, " ", time.Since(start)))
		time.Sleep(d)
		return nil
	}
}

func TestEachTargetIsReconciledOnceEveryInterval(t *testing.T) {
	for name, test := range map[string]struct {
		takes time.Duration
		want  []string
	}{
		"one after the other": {takes: 2 * time.Second, want: []string{"a 0s", "b 2s", "a 15s", "b 17s", "a 30s", "b 32s"}},
		// The queue does not grow: b is in work at 15 s, and has its next turn at 30 s.
		"slower than the interval": {takes: 9 * time.Second, want: []string{"a 0s", "b 9s", "a 18s", "a 30s", "b 39s"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var calls []string
				c := newTestController(t, testConfig, takes(test.takes, &calls), io.Discard)
				runFor(t, c, 40*time.Second)
				if !slices.Equal(calls, test.want) {
					t.Errorf("checked %v, want %v", calls, test.want)
				}
			})
		})
	}
}

func TestAFailureIsTriedAgainUntilASuccess(t *testing.T) {
	spans := record(t)
	synctest.Test(t, func(t *testing.T) {
		var when []time.Time
		conf := testConfig
		conf.hosts = hostList{"a"}
		c := newTestController(t, conf, func(context.Context, string) error {
			if when = append(when, time.Now()); len(when) <= 4 || len(when) == 6 {
				return errors.New("on purpose")
			}
			return nil
		}, io.Discard)
		runFor(t, c, 39*time.Second)
		var got []string
		for _, span := range spans.GetSpans() {
			set := attribute.NewSet(span.Attributes...)
			attempt, _ := set.Value(attemptKey)
			trigger, _ := set.Value(triggerKey)
			got = append(got, attempt.String()+" "+trigger.String())
		}
		want := []string{"1 start", "2 retry", "3 retry", "4 retry", "5 retry", "1 interval", "2 retry"}
		if len(got) < len(want) || !slices.Equal(got[:len(want)], want) {
			t.Fatalf("attempts: %v, want %v", got, want)
		}
		for i, most := range map[int]time.Duration{1: 1, 2: 2, 3: 4, 4: 8, 6: 1} {
			if gap := when[i].Sub(when[i-1]); gap < most*time.Second/2 || gap > most*time.Second {
				t.Errorf("check %d came after %s, want half of %d s to the whole", i+1, gap, most)
			}
		}
	})
}

func TestATargetThatHangsDelaysNeitherTheOthersNorAStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		calls, start, stopped := map[string]int{}, time.Now(), time.Time{}
		c := newTestController(t, testConfig, func(ctx context.Context, target string) error {
			if calls[target]++; target == "b" {
				return nil
			}
			if calls["b"] >= 40 {
				stopped = time.Now()
				stop()
			}
			<-ctx.Done() // as slow as can be
			return ctx.Err()
		}, io.Discard)
		c.run(ctx)
		if took := stopped.Sub(start); calls["a"] < 10 || calls["b"] < int(took/testConfig.interval) {
			t.Errorf("checks after %s: %v", took, calls)
		}
		if took := time.Since(stopped); took != testConfig.timeout {
			t.Errorf("the stop took %s, want %s", took, testConfig.timeout)
		}
	})
}

func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hangs atomic.Bool
		goOn := make(chan struct{})
		c := newTestController(t, testConfig, func(_ context.Context, target string) error {
			time.Sleep(time.Second)
			if hangs.Load() {
				<-goOn // whatever the context says
			}
			return errors.New("down for good")
		}, io.Discard)
		var stopping atomic.Bool
		health := healthHandler(c, &stopping)
		asks := func(path string, want int, part string) {
			t.Helper()
			synctest.Wait()
			res := httptest.NewRecorder()
			health.ServeHTTP(res, httptest.NewRequest(http.MethodGet, path, nil))
			if res.Code != want || !strings.Contains(res.Body.String(), part) {
				t.Errorf("%s answers %d %q, want %d %q", path, res.Code, res.Body, want, part)
			}
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			c.run(ctx)
			close(done)
		}()
		asks("/livez", 200, "live")
		asks("/readyz", 503, "a has not been looked at")
		time.Sleep(time.Second)
		asks("/readyz", 503, "b has not been looked at")
		time.Sleep(time.Second)
		asks("/readyz", 200, "ready")

		time.Sleep(time.Hour)
		asks("/livez", 200, "live") // targets that are down are no reason to restart
		hangs.Store(true)
		time.Sleep(testConfig.liveAfter - testConfig.backoff.max - time.Second)
		asks("/livez", 200, "live")
		time.Sleep(testConfig.backoff.max + time.Second)
		asks("/livez", 503, "no reconciliation has ended for 2m")
		asks("/readyz", 200, "ready")

		stopping.Store(true)
		asks("/readyz", 503, "stopping")
		stop()
		close(goOn)
		<-done
	})
}

func TestSwitchedOffItIsIdleAndHealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conf, logs := testConfig, &logBuffer{}
		conf.interval = 0
		c := newTestController(t, conf, func(context.Context, string) error {
			t.Error("a target was checked")
			return nil
		}, logs)
		runFor(t, c, time.Hour)
		idle := len(logs.lines(t, "idle: nothing is reconciled")) == 1
		if ready, live := c.ready(), c.live(); ready != nil || live != nil || !idle {
			t.Errorf("ready: %v, live: %v, logged %s", ready, live, logs)
		}
	})
}

func TestEachReconciliationIsATraceOfItsOwn(t *testing.T) {
	spans := record(t)
	synctest.Test(t, func(t *testing.T) {
		logs := &logBuffer{}
		c := newTestController(t, testConfig, func(_ context.Context, target string) error {
			time.Sleep(time.Second)
			if target == "b" {
				return &badAnswer{causeStatus, errors.New("b: answered 502 Bad Gateway")}
			}
			return nil
		}, logs)
		ctx, around := otel.Tracer(scopeName).Start(t.Context(), "around the loop")
		ctx, cancel := context.WithTimeout(ctx, time.Second+time.Millisecond)
		defer cancel()
		c.run(ctx)
		const want = `
internal reconcile: Ok attempt=1 target=a trigger=start
internal reconcile: Error attempt=1 error.type=status target=b trigger=start
  event exception exception.message=b: answered 502 Bad Gateway exception.type=*main.badAnswer
`
		if tree := describe(spans.GetSpans()); tree != want[1:] {
			t.Errorf("spans:\n%swant:%s", tree, want)
		}
		ids := map[string]bool{around.SpanContext().TraceID().String(): true}
		for i, line := range append(logs.lines(t, "reconciled"), logs.lines(t, "reconciliation failed")...) {
			span := spans.GetSpans()[i]
			id := span.SpanContext.TraceID().String()
			if span.Parent.IsValid() || ids[id] {
				t.Errorf("trace %s is not of its own", id)
			}
			if ids[id] = true; line["trace_id"] != id || line["target"] != []string{"a", "b"}[i] {
				t.Errorf("trace %s has line %v", id, line)
			}
		}
		failed := logs.lines(t, "reconciliation failed")
		if len(ids) != 3 || failed[0]["error.type"] != causeStatus || failed[0]["requeue_after"] == "" {
			t.Errorf("logged %s", logs)
		}
	})
}
