package lab

import (
	"context"
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
	secret bool
	fails  error // of the next change
	half   bool  // that takes effect all the same
	during func()
}

func (s *fakeSwitch) Active() (string, bool) { return s.name, s.secret }

func (s *fakeSwitch) Set(_ context.Context, name string, secret bool) error {
	if s.during != nil {
		s.during()
	}
	err := s.fails
	if err == nil || s.half {
		s.name, s.secret = name, secret
	}
	s.fails, s.half = nil, false
	return err
}

// fault returns a fault that there is.
func fault(t *testing.T, name string) Fault {
	t.Helper()
	f, ok := Named(name)
	if !ok {
		t.Fatalf("there is no %s", name)
	}
	return f
}

// other returns a fault that is not this one.
func other(t *testing.T, name string) Fault {
	t.Helper()
	i := slices.IndexFunc(Faults(), func(f Fault) bool { return f.Name != name })
	return Faults()[i]
}

func TestEachFaultHasAsManyHints(t *testing.T) {
	for _, f := range Faults() {
		if len(f.Hints) != 3 || strings.Join(f.Hints, " ") != f.Symptom || f.Title == "" || f.Diagnosis == "" || f.Fix == "" {
			t.Errorf("%+v", f)
		}
	}
}

// hunt begins riddles and gives each up, and returns the names of the faults.
func hunt(t *testing.T, seed uint64, n int) []string {
	t.Helper()
	sw := &fakeSwitch{}
	l := New(sw, seed)
	var names []string
	for range n {
		if err := errors.Join(l.Begin(t.Context()), l.GiveUp()); err != nil {
			t.Fatal(err)
		}
		names = append(names, sw.name)
	}
	return names
}

func TestSeedSetsTheOrder(t *testing.T) {
	n := len(Faults())
	got := hunt(t, 7, n)
	// Lessons are prepared with it: another order breaks them.
	want := []string{
		"dead-exporter", "other-format", "not-sampled", "no-service-name", "drop-header", "killed-before-flush", "malformed-header",
	}
	if !slices.Equal(got, want) {
		t.Errorf("7 gives %q, want %q", got, want)
	}
	if first := New(&fakeSwitch{}, 7).First(); first != got[0] {
		t.Errorf("a demo that starts with 7 starts with %s", first)
	}
	if slices.Equal(hunt(t, 8, n), got) {
		t.Error("7 and 8 give the same order")
	}
	if New(nil, 0).seed == 0 {
		t.Error("no seed is drawn")
	}
}

func TestNoFaultComesAgainBeforeAllHaveCome(t *testing.T) {
	n := len(Faults())
	for seed := range uint64(100) {
		names := hunt(t, seed+1, 3*n)
		for round := range slices.Chunk(names, n) {
			if len(slices.Compact(slices.Sorted(slices.Values(round)))) != n {
				t.Errorf("seed %d: a round of %q", seed+1, round)
			}
		}
		if len(slices.Compact(slices.Clone(names))) != len(names) {
			t.Errorf("seed %d: a fault comes twice in a row: %q", seed+1, names)
		}
	}
}

func TestNothingTellsASecretFault(t *testing.T) { synctest.Test(t, nothingTells) } // at the same time each

func nothingTells(t *testing.T) {
	var told string
	for _, f := range Faults() {
		l := New(&fakeSwitch{}, 7)
		l.next = []Fault{f}
		if err := l.Begin(t.Context()); err != nil {
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

func TestHintsComeOneByOne(t *testing.T) {
	sw := &fakeSwitch{}
	l := New(sw, 7)
	if err := l.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	f := fault(t, sw.name)
	for i := range 4 {
		if r := l.State().Riddle; len(r.Hints) != min(i, 3) || len(r.Hints)+r.MoreHints != 3 {
			t.Errorf("after %d: %q, and %d more", i, r.Hints, r.MoreHints)
		}
		if err := l.Hint(); err != nil {
			t.Error(err)
		}
	}
	if r := l.State().Riddle; !slices.Equal(r.Hints, f.Hints) || r.Answer != nil {
		t.Errorf("%+v", r)
	}
}

func TestGuessesAreJudgedAndCounted(t *testing.T) {
	sw := &fakeSwitch{}
	l := New(sw, 7)
	if err := l.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	wrong := other(t, sw.name)
	if err := l.Guess(wrong); err != nil {
		t.Fatal(err)
	}
	if s := l.State(); s.Riddle.Outcome != "" || s.Riddle.Answer != nil || len(s.Riddle.Wrong) != 1 || s.Riddle.Wrong[0].Name != wrong.Name || s.Tally != "" {
		t.Errorf("after a wrong guess: %+v", s)
	}
	if err := l.Guess(fault(t, sw.name)); err != nil {
		t.Fatal(err)
	}
	s := l.State()
	if s.Riddle == nil || s.Riddle.Outcome != Found || s.Riddle.Answer.Name != sw.name || s.Active != sw.name || s.Tally != "1 of 1 found, with 1 wrong guess." {
		t.Errorf("when found: %+v", s)
	}
	for _, err := range []error{l.Guess(wrong), l.Hint(), l.GiveUp()} {
		if !errors.Is(err, isSolved) {
			t.Errorf("once more: %v", err)
		}
	}
	if err := l.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.GiveUp(); err != nil {
		t.Fatal(err)
	}
	if s := l.State(); s.Riddle.Number != 2 || s.Riddle.Answer.Name != sw.name || len(s.Past) != 2 || s.Tally != "1 of 2 found, with 1 wrong guess." {
		t.Errorf("when given up: %+v", s)
	}
	if err := l.Set(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if s := l.State(); s.Riddle != nil || s.Active != "" || len(s.Past) != 2 {
		t.Errorf("when repaired: %+v", s)
	}
}

func TestARiddleThatIsLeftStaysUnnamed(t *testing.T) {
	for _, next := range []string{"", "other-format"} {
		sw := &fakeSwitch{}
		l := New(sw, 7)
		if err := l.Begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		secret := sw.name
		if err := l.Set(t.Context(), next); err != nil {
			t.Fatal(err)
		}
		s := l.State()
		if s.Active != next || s.Riddle != nil || len(s.Past) != 1 || s.Past[0].Outcome != Left || s.Past[0].Answer != nil || s.Tally != "0 of 1 found." {
			t.Errorf("after a change to %q: %+v", next, s)
		}
		if err := l.Guess(fault(t, secret)); !errors.Is(err, noRiddle) {
			t.Errorf("it can still be named: %v", err)
		}
		// A secret fault that comes later is another riddle.
		if err := l.Begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s := l.State(); s.Riddle.Number != 2 || s.Past[0].Outcome != Left || sw.name == secret {
			t.Errorf("the next: %+v", s)
		}
	}
}

func TestTheLastOneIsSaidToBe(t *testing.T) {
	sw := &fakeSwitch{}
	l := New(sw, 7)
	for i := range Faults() {
		if err := l.Begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(l.State().Tally, "all") {
			t.Errorf("after %d: %q", i, l.State().Tally)
		}
		if err := l.Guess(fault(t, sw.name)); err != nil {
			t.Fatal(err)
		}
	}
	if got := l.State().Tally; got != "7 of 7 found. You have found all there are." {
		t.Error(got)
	}
}

func TestOnlyOneRiddleAtATime(t *testing.T) {
	sw := &fakeSwitch{}
	l := New(sw, 7)
	sw.during = func() {
		if s := l.State(); s.Riddle != nil || s.Active != "" {
			t.Errorf("while it starts: %+v", s)
		}
		if err := l.Begin(t.Context()); !errors.Is(err, starting) {
			t.Errorf("while one starts: %v", err)
		}
	}
	if err := l.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	name := sw.name
	if err := l.Begin(t.Context()); !errors.Is(err, unsolved) || sw.name != name {
		t.Errorf("while one is on: %v, and %s is on", err, sw.name)
	}
}

func TestAStartThatFailsLeavesNothingToFind(t *testing.T) {
	broken := errors.New("uservice4 did not start")
	for _, half := range []bool{false, true} {
		sw := &fakeSwitch{name: "other-format", fails: broken, half: half}
		l := New(sw, 7)
		if err := l.Begin(t.Context()); !errors.Is(err, broken) {
			t.Fatal(err)
		}
		s, on := l.State(), "other-format" // as before
		if half {
			on = "" // it is mended: else the missing service would be the riddle
		}
		if s.Active != on || s.Riddle != nil || len(s.Past) != 0 {
			t.Errorf("half %t: %+v", half, s)
		}
		if err := l.Begin(t.Context()); err != nil || sw.name != New(sw, 7).First() {
			t.Errorf("half %t: then %s comes: %v", half, sw.name, err)
		}
	}
}
