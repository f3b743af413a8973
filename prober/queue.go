package main

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// queue holds the targets that are to be reconciled, in the order in which they came. A target is in one place at a time:
// waiting, in work, or resting after a failure. Whoever adds it meanwhile changes nothing, so the queue is never longer
// than there are targets, however slow the work is, and a target that rests is left in peace.
type queue struct {
	waiting chan string // has room for all

	mu   sync.Mutex
	busy map[string]bool // waiting, in work, or resting
}

// newQueue returns an empty queue for that many targets.
func newQueue(targets int) *queue {
	return &queue{waiting: make(chan string, targets), busy: map[string]bool{}}
}

// add makes the target wait for its turn, unless it is busy.
func (q *queue) add(target string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.busy[target] {
		q.busy[target] = true
		q.waiting <- target
	}
}

// next returns the target whose turn it is, as soon as there is one; ok is false once ctx has ended. The target is in work
// until done or retry is called.
func (q *queue) next(ctx context.Context) (target string, ok bool) {
	if ctx.Err() != nil { // select would toss a coin
		return "", false
	}
	select {
	case <-ctx.Done():
		return "", false
	case target := <-q.waiting:
		return target, true
	}
}

// done ends the work on a target; it can be added again.
func (q *queue) done(target string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.busy, target)
}

// retry ends the work on a target, and makes it wait for its turn again when it has rested.
func (q *queue) retry(target string, rest time.Duration) {
	time.AfterFunc(rest, func() { q.waiting <- target })
}

// depth returns how many targets wait for their turn. Those in work or resting are not among them.
func (q *queue) depth() int { return len(q.waiting) }

// backoffPolicy says how long a target rests after failures in a row.
type backoffPolicy struct{ min, max time.Duration }

// delay returns the rest after the given number of failures, at least 1: min, doubled with each further failure, max at
// most, and of that a random part between a half and the whole, so that targets that failed together do not stay together.
func (b backoffPolicy) delay(failures int) time.Duration {
	delay := b.max
	if doublings := failures - 1; b.min <= b.max>>doublings { // rather than min << doublings, which overflows
		delay = b.min << doublings
	}
	return delay - rand.N(delay/2+1)
}
