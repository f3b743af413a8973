package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// Attributes of spans and of metrics alike. Each has few values: targets are settings.
const (
	targetKey  = attribute.Key("target")
	causeKey   = attribute.Key("cause")
	attemptKey = attribute.Key("attempt")
)

// durationBounds are the histogram's bounds in seconds. They lie close together where the demo's
// good answers do, between one second and two and a quarter.
var durationBounds = []float64{.05, .1, .25, .5, .75,
	1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2, 2.1, 2.25, 2.5, 3, 4, 5, 7.5, 10, 15}

// controller keeps checking whether each target is as it should be. Others would now repair it:
// this one only tells.
type controller struct {
	targets   []string
	check     func(ctx context.Context, target string) error
	interval  time.Duration
	timeout   time.Duration
	liveAfter time.Duration
	backoff   backoffPolicy
	queue     *queue
	log       *slog.Logger

	tracer   trace.Tracer
	total    metric.Int64Counter
	errors   metric.Int64Counter
	duration metric.Float64Histogram

	mu     sync.Mutex
	states map[string]targetState
}

// targetState is what the last checks of a target have found.
type targetState struct {
	checked  bool
	good     time.Time // when it was last found well; before that, when the controller was made
	failures int       // since then
}

// newController returns a controller that uses OpenTelemetry's globals as they are now.
func newController(conf config, check func(ctx context.Context, target string) error, log *slog.Logger) (*controller, error) {
	c := &controller{
		targets:   conf.hosts,
		check:     check,
		interval:  conf.interval,
		timeout:   conf.timeout,
		liveAfter: conf.liveAfter,
		backoff:   conf.backoff,
		queue:     newQueue(len(conf.hosts)),
		log:       log,
		tracer:    otel.Tracer(scopeName),
		states:    map[string]targetState{},
	}
	now := time.Now()
	for _, target := range c.targets {
		c.states[target] = targetState{good: now}
	}
	return c, c.setUpMetrics(otel.Meter(scopeName))
}

// setUpMetrics makes the metrics. Prometheus adds _total to the counters' names, and _seconds to
// the histogram's.
func (c *controller) setUpMetrics(meter metric.Meter) error {
	var errs [4]error
	c.total, errs[0] = meter.Int64Counter("reconciliations",
		metric.WithUnit("{reconciliation}"), metric.WithDescription("Reconciliations that have ended, well or not."))
	c.errors, errs[1] = meter.Int64Counter("reconciliation_errors",
		metric.WithUnit("{reconciliation}"), metric.WithDescription("Reconciliations that have failed, by cause."))
	c.duration, errs[2] = meter.Float64Histogram("reconcile_duration", metric.WithExplicitBucketBoundaries(durationBounds...),
		metric.WithUnit("s"), metric.WithDescription("Time that reconciliations have taken."))
	_, errs[3] = meter.Int64ObservableGauge("reconcile_queue_depth",
		metric.WithUnit("{target}"), metric.WithDescription("Targets that wait for their reconciliation."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(c.queue.depth()))
			return nil
		}))
	if err := errors.Join(errs[:]...); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	// Start at zero: a rate sees no increase in the first value of a series, and would miss the
	// first error.
	for _, target := range c.targets {
		c.total.Add(context.Background(), 0, metric.WithAttributes(targetKey.String(target)))
		for _, cause := range causes {
			c.errors.Add(context.Background(), 0, metric.WithAttributes(targetKey.String(target), causeKey.String(cause)))
		}
	}
	return nil
}

// run reconciles all targets at once and then every interval, and a failed one after its backoff.
// It returns when ctx is cancelled and the reconciliation in flight has ended, which takes the
// timeout at most. It has no span: that would last for days, and no back end could show it.
func (c *controller) run(ctx context.Context) {
	if c.interval == 0 {
		c.log.Info("idle: nothing is reconciled", "because", "the interval is 0: set -interval or INTERVAL")
		<-ctx.Done()
		return
	}
	c.log.Info("reconciling", "targets", c.targets, "interval", c.interval.String())
	var worker sync.WaitGroup // one is enough as long as all targets together take less than the interval
	worker.Go(func() {
		for {
			target, ok := c.queue.next(ctx)
			if !ok {
				return
			}
			c.reconcile(context.WithoutCancel(ctx), target)
		}
	})
	ticker := time.NewTicker(c.interval)
	defer ticker.Stop()
	for ctx.Err() == nil {
		for _, target := range c.targets {
			c.queue.add(target)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
	worker.Wait()
}

// reconcile checks one target, in a trace of its own, and decides when to check it again.
func (c *controller) reconcile(ctx context.Context, target string) {
	failures := c.failures(target)
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	ctx, span := c.tracer.Start(ctx, "reconcile", trace.WithNewRoot(),
		trace.WithAttributes(targetKey.String(target), attemptKey.Int(failures+1)))
	start := time.Now()
	err := c.check(ctx, target)
	took := time.Since(start)

	// Exemplars and log lines take the trace's id from ctx.
	label := targetKey.String(target)
	c.total.Add(ctx, 1, metric.WithAttributes(label))
	c.duration.Record(ctx, took.Seconds(), metric.WithAttributes(label))
	c.observe(target, err)
	if err == nil {
		c.log.InfoContext(ctx, "reconciled", "target", target, "attempt", failures+1,
			"duration_seconds", took.Round(time.Millisecond).Seconds())
		endSpan(span, &err)
		c.queue.done(target)
		return
	}
	cause, delay := causeOf(err), c.backoff.delay(failures+1)
	c.errors.Add(ctx, 1, metric.WithAttributes(label, causeKey.String(cause)))
	c.log.ErrorContext(ctx, "reconciliation failed", "target", target, "attempt", failures+1,
		"duration_seconds", took.Round(time.Millisecond).Seconds(), "cause", cause,
		"requeue_after", delay.Round(time.Millisecond).String(), "error", err)
	err = &badAnswer{cause, err}
	endSpan(span, &err)
	c.queue.retry(target, delay)
}

// failures returns how often the target has failed since it was last found well.
func (c *controller) failures(target string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.states[target].failures
}

// observe takes the outcome of a check.
func (c *controller) observe(target string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	state := c.states[target]
	state.checked = true
	state.failures++
	if err == nil {
		state.good, state.failures = time.Now(), 0
	}
	c.states[target] = state
}

// ready returns nil after the first pass: each target has been checked, with whatever outcome. An
// idle controller has nothing to check.
func (c *controller) ready() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, target := range c.targets {
		if c.interval > 0 && !c.states[target].checked {
			return fmt.Errorf("the first pass is not done: %s has not been looked at yet", target)
		}
	}
	return nil
}

// live returns nil as long as each target was found well within the last -live-after. An error
// means that the loop hangs, or that a target stays down.
func (c *controller) live() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, target := range c.targets {
		if silence := time.Since(c.states[target].good); c.interval > 0 && silence >= c.liveAfter {
			return fmt.Errorf("no pass has succeeded for %s: %s does not answer well", silence.Round(time.Second), target)
		}
	}
	return nil
}
