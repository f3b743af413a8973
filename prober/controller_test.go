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
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
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

// takes returns a check that succeeds after that long, and appends to calls who was checked, and
// when.
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

func TestAFailureIsTriedAgainSoonerThenSeldomUntilASuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logs := &logBuffer{}
		var when []time.Duration // since the check before
		last, fail := time.Now(), true
		conf := testConfig
		conf.hosts = hostList{"a"}
		c := newTestController(t, conf, func(context.Context, string) error {
			when = append(when, time.Since(last))
			last = time.Now()
			if len(when) == 10 {
				fail = !fail
			}
			if fail {
				return errors.New("on purpose")
			}
			fail = len(when) == 12 // well three times, then broken again
			return nil
		}, logs)
		ctx, stop := context.WithCancel(t.Context())
		go func() {
			time.Sleep(time.Hour)
			stop()
		}()
		c.run(ctx)
		if len(when) < 20 {
			t.Fatalf("%d checks in an hour", len(when))
		}
		for i, most := range map[int]time.Duration{1: 1, 2: 2, 3: 4, 4: 8, 5: 16, 6: 30, 7: 30, 9: 30, 13: 1, 14: 2, 15: 4, 16: 8, 19: 30} {
			if most *= time.Second; when[i] < most/2 || when[i] > most {
				t.Errorf("check %d came after %s, want %s to %s", i+1, when[i], most/2, most)
			}
		}
		// After the success the target is back in step with the interval, so the wait for the next
		// is no longer than that.
		for _, i := range []int{10, 11, 12} {
			if when[i] > conf.interval {
				t.Errorf("check %d came after %s, want %s at most", i+1, when[i], conf.interval)
			}
		}
		failed := logs.lines(t, "reconciliation failed")
		for i, attempt := range []float64{1, 2, 3} {
			if failed[i]["attempt"] != attempt || failed[i]["cause"] != causeBroken || failed[i]["requeue_after"] == "" || failed[i]["target"] != "a" {
				t.Errorf("logged %v", failed[i])
			}
		}
		if well := logs.lines(t, "reconciled"); len(well) != 3 || well[0]["attempt"] != 10. || well[1]["attempt"] != 1. {
			t.Errorf("logged %v", well)
		}
	})
}

func TestATargetThatFailsDoesNotKeepTheOthersFromTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := map[string]int{}
		c := newTestController(t, testConfig, func(ctx context.Context, target string) error {
			calls[target]++
			if target == "a" {
				<-ctx.Done() // as slow as can be
				return ctx.Err()
			}
			return nil
		}, io.Discard)
		runFor(t, c, 10*time.Minute-time.Second)
		if calls["b"] != 40 || calls["a"] < 10 || calls["a"] > 30 {
			t.Errorf("checks: %v", calls)
		}
	})
}

func TestAStopIsBoundedByTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestController(t, testConfig, func(ctx context.Context, target string) error {
			<-ctx.Done()
			return ctx.Err()
		}, io.Discard)
		before := time.Now()
		runFor(t, c, time.Second)
		if took := time.Since(before); took != testConfig.timeout {
			t.Errorf("stopped %s after the start, want %s", took, testConfig.timeout)
		}
	})
}

func TestLivenessFollowsThePassesThatSucceed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		c := newTestController(t, testConfig, func(_ context.Context, target string) error {
			time.Sleep(time.Second)
			if target == "b" && broken.Load() {
				return errors.New("on purpose")
			}
			return nil
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

		broken.Store(true)
		time.Sleep(testConfig.liveAfter - time.Second)
		asks("/livez", 200, "live")
		time.Sleep(time.Second)
		asks("/livez", 503, "b does not answer well")
		asks("/readyz", 200, "ready")
		asks("/healthz", 200, "ok")

		broken.Store(false)
		time.Sleep(testConfig.backoff.max + 2*time.Second)
		asks("/livez", 200, "live")

		stopping.Store(true)
		asks("/readyz", 503, "stopping")
		stop()
		<-done
	})
}

func TestALoopThatHangsIsNotAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		goOn := make(chan struct{})
		c := newTestController(t, testConfig, func(context.Context, string) error {
			<-goOn // whatever the context says
			return nil
		}, io.Discard)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			c.run(ctx)
			close(done)
		}()
		time.Sleep(testConfig.liveAfter)
		if c.live() == nil || c.ready() == nil {
			t.Errorf("live: %v, ready: %v", c.live(), c.ready())
		}
		stop()
		close(goOn)
		<-done
	})
}

func TestEachReconciliationIsATraceOfItsOwn(t *testing.T) {
	spans := record(t)
	synctest.Test(t, func(t *testing.T) {
		logs := &logBuffer{}
		inside := map[trace.SpanID]bool{}
		c := newTestController(t, testConfig, func(ctx context.Context, target string) error {
			inside[trace.SpanContextFromContext(ctx).SpanID()] = true
			if target == "b" {
				return &badAnswer{causeStatus, errors.New("b: answered 502 Bad Gateway")}
			}
			return nil
		}, logs)
		ctx, around := otel.Tracer(scopeName).Start(t.Context(), "around the loop")
		ctx, cancel := context.WithTimeout(ctx, 40*time.Second)
		defer cancel()
		c.run(ctx)
		around.End()

		traces, causes := map[string]string{}, 0
		for _, span := range spans.GetSpans() {
			if span.Name == "around the loop" {
				continue
			}
			id := span.SpanContext.TraceID().String()
			if span.Name != "reconcile" || span.SpanKind != trace.SpanKindInternal || span.Parent.IsValid() || !inside[span.SpanContext.SpanID()] {
				t.Errorf("span %s has parent %v", span.Name, span.Parent)
			}
			if traces[id] != "" || id == around.SpanContext().TraceID().String() {
				t.Errorf("trace %s has two reconciliations", id)
			}
			text := attributes(span.Attributes)
			traces[id] = text
			if strings.Contains(text, "target=a") {
				if span.Status.Code != codes.Ok || len(span.Events) != 0 {
					t.Errorf("a success has status %v and events %v", span.Status, span.Events)
				}
				continue
			}
			causes++
			if span.Status.Code != codes.Error || !strings.Contains(span.Status.Description, "502") || len(span.Events) != 1 ||
				span.Events[0].Name != "exception" || !strings.Contains(text, "error.type=status") {
				t.Errorf("a failure has status %v, events %v, attributes %s", span.Status, span.Events, text)
			}
		}
		if len(traces) != len(inside) || causes < 3 || len(traces)-causes != 3 {
			t.Errorf("%d checks made %d traces, of them %d failures", len(inside), len(traces), causes)
		}
		logged := map[string]bool{}
		for _, line := range append(logs.lines(t, "reconciled"), logs.lines(t, "reconciliation failed")...) {
			id, _ := line["trace_id"].(string)
			if text := traces[id]; !strings.Contains(text, "target="+fmt.Sprint(line["target"])) {
				t.Errorf("line %v names a trace with %q", line, text)
			}
			logged[id] = true
		}
		if len(logged) != len(traces) {
			t.Errorf("logged %d traces of %d", len(logged), len(traces))
		}
		if line := logs.lines(t, "reconciling"); len(line) != 1 || line[0]["trace_id"] == around.SpanContext().TraceID().String() {
			t.Errorf("logged %v", line)
		}
	})
}
