package main

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// Why a target is reconciled.
const (
	triggerStart    = "start"    // the controller has just started
	triggerInterval = "interval" // its time has come
	triggerRetry    = "retry"    // it failed, and its backoff is over
)

// item is a target in the queue.
type item struct{ target, trigger string }

// queue holds the targets to reconcile, first in, first out. Each target is in it once at most: it
// waits, is in work, or backs off after a failure, and adding it meanwhile changes nothing. So the
// queue never grows, however slow the work is, and a backoff is never cut short.
type queue struct {
	waiting chan item // has room for all

	mu   sync.Mutex
	busy map[string]bool // waits, is in work, or backs off
}

// newQueue returns an empty queue with room for that many targets.
func newQueue(targets int) *queue {
	return &queue{waiting: make(chan item, targets), busy: map[string]bool{}}
}

// add appends the target, unless it is busy.
func (q *queue) add(i item) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.busy[i.target] {
		q.busy[i.target] = true
		q.waiting <- i
	}
}

// next waits for the next target; ok is false once ctx has ended. The target is in work until done
// or retry is called.
func (q *queue) next(ctx context.Context) (i item, ok bool) {
	if ctx.Err() != nil { // select would choose at random
		return item{}, false
	}
	select {
	case <-ctx.Done():
		return item{}, false
	case i := <-q.waiting:
		return i, true
	}
}

// done ends the work on a target; it can be added again.
func (q *queue) done(target string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.busy, target)
}

// retry ends the work on a target, and appends it again after a delay.
func (q *queue) retry(target string, delay time.Duration) {
	time.AfterFunc(delay, func() { q.waiting <- item{target, triggerRetry} })
}

// depth returns how many targets wait. Those in work and those that back off do not count.
func (q *queue) depth() int { return len(q.waiting) }

// backoffPolicy says how long to wait after failures in a row.
type backoffPolicy struct{ min, max time.Duration }

// delay returns the wait after the given number of failures, at least 1: min, doubled with each
// further failure, at most max. It is shortened at random, by up to a half, so that targets that
// failed together are not tried again together.
func (b backoffPolicy) delay(failures int) time.Duration {
	delay := b.max
	if doublings := failures - 1; b.min <= b.max>>doublings { // rather than min << doublings, which overflows
		delay = b.min << doublings
	}
	return delay - rand.N(delay/2+1)
}
