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
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// Attributes. Those of metrics have few values: targets are settings, and error.type is one of causes.
// Span, metrics (as error_type) and log share the name error.type, so that a search goes from one to the next.
const (
	targetKey    = attribute.Key("target")
	triggerKey   = attribute.Key("trigger")
	attemptKey   = attribute.Key("attempt")
	errorTypeKey = semconv.ErrorTypeKey
)

// durationBounds are the histogram's bounds in seconds. They lie close together where the demo's
// good answers do, between one second and two and a quarter.
var durationBounds = []float64{.05, .1, .25, .5, .75,
	1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2, 2.1, 2.25, 2.5, 3, 4, 5, 7.5, 10, 15}

// controller keeps checking whether each target is as it should be. Others would now repair it:
// this one only reports.
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
	duration metric.Float64Histogram

	mu       sync.Mutex
	failures map[string]int // since the target was last found well; a target that was never checked is not in it
	ended    time.Time      // when the last reconciliation ended; before that, when the controller was made
}

// newController returns a controller that uses OpenTelemetry's globals as they are now.
func newController(
	conf config, check func(ctx context.Context, target string) error, log *slog.Logger,
) (*controller, error) {
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
		failures:  map[string]int{},
		ended:     time.Now(),
	}
	return c, c.setUpMetrics(otel.Meter(scopeName))
}

// setUpMetrics makes the metrics. Prometheus adds _total to the counter's name, and _seconds to the
// histogram's.
func (c *controller) setUpMetrics(meter metric.Meter) error {
	var errs [3]error
	c.total, errs[0] = meter.Int64Counter("reconciliations", metric.WithUnit("{reconciliation}"),
		metric.WithDescription("Reconciliations that have ended; those that failed have an error_type."))
	c.duration, errs[1] = meter.Float64Histogram("reconcile_duration", metric.WithUnit("s"),
		metric.WithExplicitBucketBoundaries(durationBounds...),
		metric.WithDescription("Time that reconciliations have taken."))
	_, errs[2] = meter.Int64ObservableGauge("reconcile_queue_depth",
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
		for _, cause := range append(causes, "") {
			c.total.Add(context.Background(), 0, outcome(target, cause))
		}
	}
	return nil
}

// outcome returns the counter's attributes. As OpenTelemetry's conventions have it, a success has no
// error.type. The error ratio is that of reconciliations_total{error_type!=""} to reconciliations_total.
func outcome(target, cause string) metric.MeasurementOption {
	attributes := []attribute.KeyValue{targetKey.String(target)}
	if cause != "" {
		attributes = append(attributes, errorTypeKey.String(cause))
	}
	return metric.WithAttributes(attributes...)
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
			next, ok := c.queue.next(ctx)
			if !ok {
				return
			}
			c.reconcile(context.WithoutCancel(ctx), next)
		}
	})
	ticker := time.NewTicker(c.interval)
	defer ticker.Stop()
	for trigger := triggerStart; ctx.Err() == nil; trigger = triggerInterval {
		for _, target := range c.targets {
			c.queue.add(item{target, trigger})
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
	worker.Wait()
}

// reconcile checks one target, in a trace of its own, and decides when to check it again.
func (c *controller) reconcile(ctx context.Context, next item) {
	target := next.target
	attempt := c.attempt(target)
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	ctx, span := c.tracer.Start(ctx, "reconcile", trace.WithNewRoot(), trace.WithAttributes(
		targetKey.String(target), triggerKey.String(next.trigger), attemptKey.Int(attempt)))
	start := time.Now()
	err := c.check(ctx, target)
	took := time.Since(start)
	c.observe(target, err)

	// Exemplars and log lines take the trace's id from ctx.
	c.duration.Record(ctx, took.Seconds(), metric.WithAttributes(targetKey.String(target)))
	log := c.log.With("target", target, "attempt", attempt, "duration_seconds", took.Round(time.Millisecond).Seconds())
	if err == nil {
		c.total.Add(ctx, 1, outcome(target, ""))
		log.InfoContext(ctx, "reconciled")
		endSpan(span, &err)
		c.queue.done(target)
		return
	}
	cause, delay := causeOf(err), c.backoff.delay(attempt)
	c.total.Add(ctx, 1, outcome(target, cause))
	log.ErrorContext(ctx, "reconciliation failed", string(errorTypeKey), cause,
		"requeue_after", delay.Round(time.Millisecond).String(), "error", err)
	err = &badAnswer{cause, err}
	endSpan(span, &err)
	c.queue.retry(target, delay)
}

// attempt returns which attempt to find the target well comes next: 1 after a success.
func (c *controller) attempt(target string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failures[target] + 1
}

// observe takes the outcome of a reconciliation that has ended.
func (c *controller) observe(target string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = time.Now()
	c.failures[target]++
	if err == nil {
		c.failures[target] = 0
	}
}

// ready returns nil after the first pass: each target has been checked, with whatever outcome. An
// idle controller has nothing to check.
func (c *controller) ready() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, target := range c.targets {
		if _, checked := c.failures[target]; c.interval > 0 && !checked {
			return fmt.Errorf("the first pass is not done: %s has not been looked at yet", target)
		}
	}
	return nil
}

// live returns nil as long as a reconciliation ended within the last -live-after, well or not: a
// restart helps when the loop hangs, and does not mend a target.
func (c *controller) live() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if silence := time.Since(c.ended); c.interval > 0 && silence >= c.liveAfter {
		return fmt.Errorf("no reconciliation has ended for %s", silence.Round(time.Second))
	}
	return nil
}
