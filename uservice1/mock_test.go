package main

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestMockCallsTakeTheirTime(t *testing.T) {
	m := mock{name: "redis", min: 100 * time.Millisecond, max: 199 * time.Millisecond}
	for name, test := range map[string]struct {
		query    string
		min, max time.Duration
		fails    bool
	}{
		"within the bounds":                    {min: m.min, max: m.max},
		"two seconds more when asked for":      {query: "slow=redis", min: m.min + slowness, max: m.max + slowness},
		"another dependency's wish is ignored": {query: "slow=database&fail=database", min: m.min, max: m.max},
		"a failure takes its time too":         {query: "fail=redis", min: m.min, max: m.max, fails: true},
		"slow and then failed":                 {query: "fail=redis&slow=redis", min: m.min + slowness, max: m.max + slowness, fails: true},
	} {
		synctest.Test(t, func(t *testing.T) {
			wish, err := decodeWishes(test.query)
			if err != nil {
				t.Fatal(err)
			}
			for range 100 {
				before := time.Now()
				if err := m.call(t.Context(), wish); (err != nil) != test.fails {
					t.Errorf("%s: error %v", name, err)
				}
				if took := time.Since(before); took < test.min || took > test.max {
					t.Errorf("%s: took %s, want %s to %s", name, took, test.min, test.max)
				}
			}
		})
	}
}

func TestWishesThatNobodyCanFulfilAreErrors(t *testing.T) {
	for query, good := range map[string]bool{
		"fail=disk": false, "slow=disk": false, "fail=": false, "fail=redis&fail=disk": false, "fail=Redis": false, "fail=%zz": false, "a=b;c=d": false,
		"": true, "fail=redis": true, "fail=redis&fail=database": true, "slow=database&other=1": true,
	} {
		if _, err := decodeWishes(query); (err == nil) != good {
			t.Errorf("%q: %v", query, err)
		}
	}
}
