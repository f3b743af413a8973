package main

import (
	"context"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestATargetIsInTheQueueOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(2)
		take := func(want string) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			if got, ok := q.next(ctx); got.target != want || ok != (want != "") {
				t.Errorf("next is %v %t, want %q", got, ok, want)
			}
		}
		for range 3 {
			q.add(item{target: "a"})
			q.add(item{target: "b"})
		}
		if q.depth() != 2 {
			t.Errorf("%d wait, want 2", q.depth())
		}
		take("a")
		q.add(item{target: "a"}) // in work
		take("b")
		take("")

		q.done("a")
		q.add(item{target: "a"})
		take("a")

		q.retry("a", time.Minute)
		q.add(item{target: "a"}) // resting
		take("")
		time.Sleep(time.Minute)
		q.add(item{target: "a"}) // waiting again
		take("a")
		take("")

		q.done("a")
		q.add(item{target: "a"})
		stopped, stop := context.WithCancel(t.Context())
		stop()
		if i, ok := q.next(stopped); ok {
			t.Errorf("gives %v out after the stop", i)
		}
	})
}

func TestBackoffDoublesUpToItsMost(t *testing.T) {
	const s = time.Second
	for name, test := range map[string]struct {
		policy backoffPolicy
		want   map[int]time.Duration // the greatest, by failures
	}{
		"of the default":    {backoffPolicy{s, 30 * s}, map[int]time.Duration{2: 2 * s, 5: 16 * s, 6: 30 * s, 1000: 30 * s}},
		"without growth":    {backoffPolicy{s, s}, map[int]time.Duration{1: s, 2: s, 64: s, 65: s}},
		"of long durations": {backoffPolicy{1, math.MaxInt64}, map[int]time.Duration{2: 2, 63: 1 << 62, 64: math.MaxInt64}},
	} {
		for failures, most := range test.want {
			var delays []time.Duration
			for range 100 {
				delays = append(delays, test.policy.delay(failures))
			}
			least, greatest := slices.Min(delays), slices.Max(delays)
			if least < most/2 || least <= 0 || greatest > most {
				t.Errorf("%s: after %d failures %s to %s, want %s to %s", name, failures, least, greatest, most/2, most)
			}
			if most > s && least == greatest {
				t.Errorf("%s: after %d failures always %s", name, failures, least)
			}
		}
	}
}
