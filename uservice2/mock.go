package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"time"
)

const slowness = 2 * time.Second // what ?slow= adds to a mock call

// wishes are the failures and the slowness that a request asks for, by the dependency's name. One
// that this service does not own belongs to a service further down: the query travels on.
type wishes map[string][]string

// decodeWishes reads ?fail= and ?slow= from a raw query.
func decodeWishes(rawQuery string) (wishes, error) {
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return nil, fmt.Errorf("query: %w", err)
	}
	for _, name := range []string{"fail", "slow"} {
		for _, value := range query[name] {
			if value != "redis" && value != "database" {
				return nil, fmt.Errorf("query: %s=%q: want redis or database", name, value)
			}
		}
	}
	return wishes(query), nil
}

// mock stands in for a dependency: it takes between min and max, both included.
type mock struct {
	name     string
	min, max time.Duration
}

// call waits as long as the dependency takes, or until ctx ends, and fails if wish says so.
func (m mock) call(ctx context.Context, wish wishes) error {
	wait := m.min + rand.N(m.max-m.min+1)
	if slices.Contains(wish["slow"], m.name) {
		wait += slowness
	}
	select {
	case <-time.After(wait):
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", m.name, context.Cause(ctx))
	}
	if slices.Contains(wish["fail"], m.name) {
		return fmt.Errorf("%s: connection refused, as ?fail=%s asked for", m.name, m.name)
	}
	return nil
}

// check says what is wrong with the bounds. The timeouts around the call leave it limit at most.
func (m mock) check(limit time.Duration) error {
	if m.min < 0 || m.max < m.min || m.max > limit {
		return fmt.Errorf("-%[1]s-min %[2]s and -%[1]s-max %[3]s: want 0 <= min <= max <= %[4]s", m.name, m.min, m.max, limit)
	}
	return nil
}
