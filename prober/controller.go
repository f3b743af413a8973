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

// Names of attributes, of spans and of metrics alike. The values of all three are few: targets are settings.
const (
	targetKey  = attribute.Key("target")
	causeKey   = attribute.Key("cause")
	attemptKey = attribute.Key("attempt")
)

// durationBounds are the bounds, in seconds, of the histogram's buckets: close together where a good answer of the demo
// lies, between one second and two and a quarter, and wide around it.
var durationBounds = []float64{.05, .1, .25, .5, .75, 1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2, 2.1, 2.25, 2.5, 3, 4, 5, 7.5, 10, 15}

// controller keeps looking whether each target is as it should be. It can only look: what another would do now to make
// the target well, it leaves to people, and tells them.
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

	mu    sync.Mutex
	known map[string]knowledge
}

// knowledge is what is known about a target.
type knowledge struct {
	seen     bool
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
		known:     map[string]knowledge{},
	}
	now := time.Now()
	for _, target := range c.targets {
		c.known[target] = knowledge{good: now}
	}
	return c, c.setUpMetrics(otel.Meter(scopeName))
}

// setUpMetrics makes the metrics. In Prometheus the counters' names end in _total, and the histogram's in _seconds.
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
	// From the start at zero: a rate sees no increase in the first value of a series, and so would miss the first error.
	for _, target := range c.targets {
		c.total.Add(context.Background(), 0, metric.WithAttributes(targetKey.String(target)))
		for _, cause := range causes {
			c.errors.Add(context.Background(), 0, metric.WithAttributes(targetKey.String(target), causeKey.String(cause)))
		}
	}
	return nil
}

// run reconciles all targets at once and then every interval, and those that failed when they have rested, until ctx is
// cancelled and the reconciliation in flight has ended, which takes the timeout at most. There is no span around it: it
// would last for days, and be the one trace that nothing can show.
func (c *controller) run(ctx context.Context) {
	if c.interval == 0 {
		c.log.Info("idle: nothing is reconciled", "because", "the interval is 0: set -interval or INTERVAL")
		<-ctx.Done()
		return
	}
	c.log.Info("reconciling", "targets", c.targets, "interval", c.interval.String())
	var worker sync.WaitGroup // one, which is gentle, and plenty as long as all targets together take less than the interval
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

// reconcile looks at one target, in a trace of its own, and decides when to look again.
func (c *controller) reconcile(ctx context.Context, target string) {
	failures := c.failures(target)
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	ctx, span := c.tracer.Start(ctx, "reconcile", trace.WithNewRoot(),
		trace.WithAttributes(targetKey.String(target), attemptKey.Int(failures+1)))
	start := time.Now()
	err := c.check(ctx, target)
	took := time.Since(start)

	// With the span's context, from which exemplars and log lines take the trace's id.
	label := targetKey.String(target)
	c.total.Add(ctx, 1, metric.WithAttributes(label))
	c.duration.Record(ctx, took.Seconds(), metric.WithAttributes(label))
	c.learn(target, err)
	if err == nil {
		c.log.InfoContext(ctx, "reconciled", "target", target, "attempt", failures+1, "duration_seconds", took.Round(time.Millisecond).Seconds())
		endSpan(span, nil)
		c.queue.done(target)
		return
	}
	cause, rest := causeOf(err), c.backoff.delay(failures+1)
	c.errors.Add(ctx, 1, metric.WithAttributes(label, causeKey.String(cause)))
	span.SetAttributes(semconv.ErrorTypeKey.String(cause))
	c.log.ErrorContext(ctx, "reconciliation failed", "target", target, "attempt", failures+1,
		"duration_seconds", took.Round(time.Millisecond).Seconds(), "cause", cause, "requeue_after", rest.Round(time.Millisecond).String(), "error", err)
	endSpan(span, err)
	c.queue.retry(target, rest)
}

// failures returns how often the target has failed since it was last found well.
func (c *controller) failures(target string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known[target].failures
}

// learn takes the outcome of a reconciliation.
func (c *controller) learn(target string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.known[target]
	k.seen = true
	k.failures++
	if err == nil {
		k.good, k.failures = time.Now(), 0
	}
	c.known[target] = k
}

// ready returns nil once the first pass is done: each target has been looked at, whatever was seen. An idle controller
// has nothing to look at.
func (c *controller) ready() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, target := range c.targets {
		if c.interval > 0 && !c.known[target].seen {
			return fmt.Errorf("the first pass is not done: %s has not been looked at yet", target)
		}
	}
	return nil
}

// live returns nil as long as a pass has succeeded lately: since not longer ago than live-after, each target has been
// found well at least once. A loop that hangs is found by this as well as a target that stays down.
func (c *controller) live() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, target := range c.targets {
		if silence := time.Since(c.known[target].good); c.interval > 0 && silence >= c.liveAfter {
			return fmt.Errorf("no pass has succeeded for %s: %s does not answer well", silence.Round(time.Second), target)
		}
	}
	return nil
}
