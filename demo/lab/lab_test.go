package lab

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

// fakeSwitch does what it is told, unless it fails.
type fakeSwitch struct {
	name   string
	fails  error // of the next change, which takes effect all the same
	during func()
}

func (s *fakeSwitch) set(f Fault, _ bool) error {
	if s.during != nil {
		s.during()
	}
	err := s.fails
	s.name, s.fails = f.Name, nil
	return err
}

// begin returns a lab with a riddle, and its fault and another one.
func begin(t *testing.T) (l *Lab, sw *fakeSwitch, right, wrong Fault) {
	t.Helper()
	sw = &fakeSwitch{}
	l = New(sw.set, 7)
	if err := l.Begin(); err != nil {
		t.Fatal(err)
	}
	right, _ = Named(sw.name)
	return l, sw, right, Faults()[slices.IndexFunc(Faults(), func(f Fault) bool { return f.Name != sw.name })]
}

func TestASeedGivesAllFaultsInAnOrderOfItsOwn(t *testing.T) {
	for seed := uint64(1); seed < 20; seed++ {
		sw := &fakeSwitch{}
		l := New(sw.set, seed)
		var names []string
		for range Faults() {
			if err := errors.Join(l.Begin(), l.GiveUp()); err != nil {
				t.Fatal(err)
			}
			names = append(names, sw.name)
		}
		if len(slices.Compact(slices.Sorted(slices.Values(names)))) != len(Faults()) {
			t.Errorf("%d gives %q", seed, names)
		}
		// Lessons are prepared with it: another order breaks them.
		want := "dead-exporter other-format not-sampled no-service-name drop-header killed-before-flush malformed-header"
		if (seed == 7) != (strings.Join(names, " ") == want) {
			t.Errorf("%d gives %q", seed, names)
		}
	}
	if New(nil, 0).seed == 0 {
		t.Error("no seed is drawn")
	}
}

func TestNothingTellsASecretFault(t *testing.T) { synctest.Test(t, nothingTells) } // at the same time each

func nothingTells(t *testing.T) {
	var told string
	for i, f := range Faults() {
		l := New((&fakeSwitch{}).set, 7)
		l.order = []int{i}
		if err := l.Begin(); err != nil {
			t.Fatal(err)
		}
		l.Saw("1f")
		data, err := json.Marshal(l.State())
		if err != nil {
			t.Fatal(err)
		}
		if told != "" && told != string(data) {
			t.Errorf("%s is told apart:\n%s\n%s", f.Name, data, told)
		}
		told = string(data)
	}
	if !strings.Contains(told, `"active":""`) || !strings.Contains(told, `"trace":"1f"`) {
		t.Error(told)
	}
}

func TestHintsComeOneByOneAndGuessesAreJudged(t *testing.T) {
	l, sw, right, wrong := begin(t)
	for i := range 4 {
		if r := l.State().Riddle; len(r.Hints) != min(i, 3) || len(r.Hints)+r.MoreHints != 3 {
			t.Errorf("after %d: %q, and %d more", i, r.Hints, r.MoreHints)
		}
		if err := l.Hint(); err != nil {
			t.Error(err)
		}
	}
	if err := l.Guess(wrong); err != nil {
		t.Fatal(err)
	}
	if r := l.State().Riddle; r.Answer != nil || len(r.Wrong) != 1 || r.Wrong[0].Name != wrong.Name || !slices.Equal(r.Hints, right.Hints) {
		t.Errorf("after a wrong guess: %+v", r)
	}
	if err := l.Guess(right); err != nil {
		t.Fatal(err)
	}
	if s := l.State(); s.Riddle.Answer.Name != sw.name || s.Active != sw.name {
		t.Errorf("when found: %+v", s)
	}
	for _, err := range []error{l.Guess(wrong), l.Hint(), l.GiveUp()} {
		if !errors.Is(err, noRiddle) {
			t.Errorf("once more: %v", err)
		}
	}
	if err := errors.Join(l.Begin(), l.GiveUp()); err != nil || l.State().Riddle.Answer.Name != sw.name {
		t.Errorf("when given up: %+v, %v", l.State(), err)
	}
}

func TestARiddleThatIsLeftStaysUnnamed(t *testing.T) {
	for _, next := range []string{"", "other-format"} {
		l, sw, secret, _ := begin(t)
		if err := l.Set(next); err != nil {
			t.Fatal(err)
		}
		if s := l.State(); s.Active != next || s.Riddle != nil {
			t.Errorf("after a change to %q: %+v", next, s)
		}
		if err := l.Guess(secret); !errors.Is(err, noRiddle) {
			t.Errorf("it can still be named: %v", err)
		}
		if err := l.Begin(); err != nil || l.State().Riddle == nil || sw.name == secret.Name {
			t.Errorf("the next: %+v, %v", l.State(), err)
		}
	}
}

func TestOnlyOneRiddleAtATime(t *testing.T) {
	sw := &fakeSwitch{}
	l := New(sw.set, 7)
	sw.during = func() {
		if err := l.Begin(); !errors.Is(err, changing) || l.State().Riddle != nil {
			t.Errorf("while it starts: %v, %+v", err, l.State())
		}
	}
	if err := l.Begin(); err != nil {
		t.Fatal(err)
	}
	name := sw.name
	if err := l.Begin(); !errors.Is(err, unsolved) || sw.name != name {
		t.Errorf("while one is on: %v, and %s is on", err, sw.name)
	}
}

func TestAStartThatFailsLeavesNothingToFind(t *testing.T) {
	sw := &fakeSwitch{fails: errors.New("uservice4 did not start")} // else the missing service would be the riddle
	l := New(sw.set, 7)
	if err := l.Begin(); err == nil || sw.name != "" || l.State().Riddle != nil {
		t.Errorf("%v, and %s is on: %+v", err, sw.name, l.State())
	}
	if err := l.Begin(); err != nil || sw.name != "dead-exporter" {
		t.Errorf("then %s comes: %v", sw.name, err)
	}
}
