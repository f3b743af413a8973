package lab

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Random stands for the name of a fault that nobody is told.
const Random = "random"

// Riddle is a fault that was turned on without its name.
type Riddle struct {
	Began     time.Time `json:"began"`      // when it was on; older traces do not tell of it
	Hints     []string  `json:"hints"`      // that were asked for
	MoreHints int       `json:"more_hints"` // that were not
	Wrong     []Fault   `json:"wrong"`      // causes that were named and are not it
	Trace     string    `json:"trace"`      // of the newest call that was seen under it, or empty
	Answer    *Fault    `json:"answer"`     // when it was found or given up

	fault Fault
}

// State is what may be told. Before a riddle is solved nothing in it depends on which fault it is,
// except the hints that were asked for.
type State struct {
	Active string  `json:"active"` // name of the fault that is on, or "", also if that is a secret
	Fault  *Fault  `json:"fault"`  // the same in words
	Riddle *Riddle `json:"riddle"` // whose fault is on, solved or not
	Seed   uint64  `json:"seed"`   // gives another run the same riddles in the same order
}

// Refusal is a sentence that says why something cannot be done now.
type Refusal string

func (r Refusal) Error() string { return string(r) }

const (
	unsolved Refusal = "Something is broken already: name its cause, give up, or repair it first."
	starting Refusal = "A fault is being started already. Wait for it."
	noRiddle Refusal = "There is nothing to find now: break something first."
)

// Lab breaks and mends through a Switch, by name or as a riddle.
type Lab struct {
	sw    Switch
	seed  uint64
	order []Fault // of the riddles, again and again

	starting sync.Mutex // held while a riddle is turned on
	begun    int        // riddles so far

	mu     sync.Mutex
	riddle *Riddle // the latest, or nil
}

// New returns a lab whose riddles come in an order that depends on the seed alone; 0 draws a seed.
func New(sw Switch, seed uint64) *Lab {
	if seed == 0 {
		seed = 1 + rand.Uint64N(9999) // short enough to be told to a class
	}
	l := &Lab{sw: sw, seed: seed}
	for _, i := range rand.New(rand.NewPCG(seed, 0)).Perm(len(Faults())) {
		l.order = append(l.order, Faults()[i])
	}
	return l
}

// Set turns a fault on by its name, and any other off; an empty name mends everything.
func (l *Lab) Set(name string) error { return l.sw.Set(name, false) }

// Begin turns on a fault that nobody is told.
func (l *Lab) Begin() error {
	if !l.starting.TryLock() {
		return starting
	}
	defer l.starting.Unlock()
	if r := l.State().Riddle; r != nil && r.Answer == nil {
		return unsolved
	}
	f := l.order[l.begun%len(l.order)]
	if err := l.sw.Set(f.Name, true); err != nil {
		// A service that did not start would be another riddle.
		return errors.Join(err, l.sw.Set("", false))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begun++
	l.riddle = &Riddle{Began: time.Now(), Hints: []string{}, MoreHints: len(f.Hints), Wrong: []Fault{}, fault: f}
	return nil
}

// current returns the riddle whose fault is on, or nil.
func (l *Lab) current() *Riddle {
	if name, secret := l.sw.Active(); l.riddle != nil && secret && name == l.riddle.fault.Name {
		return l.riddle
	}
	return nil
}

// Saw notes a call under the riddle, for the learner to come back to.
func (l *Lab) Saw(traceID string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.current(); r != nil {
		r.Trace = traceID
	}
}

// Hint tells one hint more, as long as there is one.
func (l *Lab) Hint() error {
	return l.solve(func(r *Riddle) {
		if told := len(r.Hints); r.MoreHints > 0 {
			r.Hints, r.MoreHints = r.fault.Hints[:told+1], r.MoreHints-1
		}
	})
}

// Guess names a cause. A wrong one costs nothing.
func (l *Lab) Guess(f Fault) error {
	return l.solve(func(r *Riddle) {
		if f.Name == r.fault.Name {
			r.Answer = &r.fault
		} else {
			r.Wrong = append(r.Wrong, f)
		}
	})
}

// GiveUp tells the answer. The fault stays on.
func (l *Lab) GiveUp() error { return l.solve(func(r *Riddle) { r.Answer = &r.fault }) }

// solve calls f with the riddle that is on, if it is not solved.
func (l *Lab) solve(f func(*Riddle)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.current()
	if r == nil || r.Answer != nil {
		return noRiddle
	}
	f(r)
	return nil
}

// State returns what may be told now.
func (l *Lab) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := State{Seed: l.seed}
	if r := l.current(); r != nil {
		told := *r
		told.Wrong = slices.Clone(r.Wrong)
		s.Riddle, s.Fault = &told, told.Answer
	} else if name, secret := l.sw.Active(); !secret {
		if f, ok := Named(name); ok {
			s.Fault = &f
		}
	}
	if s.Fault != nil {
		s.Active = s.Fault.Name
	}
	return s
}
