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
	changing Refusal = "The telemetry is being changed already. Wait for it."
	noRiddle Refusal = "There is nothing to find now: break something first."
)

// Lab breaks the telemetry of a running demo and mends it, by a fault's name or as a riddle.
type Lab struct {
	set   func(f Fault, secret bool) error
	seed  uint64
	order []int // of the riddles among Faults, again and again

	changing sync.Mutex // held during a change
	begun    int        // riddles so far

	mu     sync.Mutex
	active Fault   // without a name if there is none
	riddle *Riddle // of the active fault if that is a secret, or was
}

// New returns a lab whose riddles come in an order that depends on the seed alone; 0 draws a seed. Set
// turns one fault on and any other off; one without a name mends everything. It tells nobody the name
// of a secret one. It returns when the change has taken effect, or with an error that says what to do.
func New(set func(f Fault, secret bool) error, seed uint64) *Lab {
	if seed == 0 {
		seed = 1 + rand.Uint64N(9999) // short enough to be told to a class
	}
	return &Lab{set: set, seed: seed, order: rand.New(rand.NewPCG(seed, 0)).Perm(len(Faults()))}
}

// Set turns a fault on by its name, and any other off; an empty name mends everything.
func (l *Lab) Set(name string) error {
	l.changing.Lock()
	defer l.changing.Unlock()
	f, _ := Named(name)
	return l.change(f, nil)
}

// change makes f the active fault, also when that goes wrong halfway.
func (l *Lab) change(f Fault, riddle *Riddle) error {
	err := l.set(f, riddle != nil)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.active, l.riddle = f, riddle
	if riddle != nil {
		riddle.Began = time.Now()
	}
	return err
}

// Begin turns on a fault that nobody is told.
func (l *Lab) Begin() error {
	if !l.changing.TryLock() {
		return changing
	}
	defer l.changing.Unlock()
	if r := l.State().Riddle; r != nil && r.Answer == nil {
		return unsolved
	}
	f := Faults()[l.order[l.begun%len(l.order)]]
	if err := l.change(f, &Riddle{Hints: []string{}, MoreHints: len(f.Hints), Wrong: []Fault{}}); err != nil {
		// A service that did not start would be another riddle.
		return errors.Join(err, l.change(Fault{}, nil))
	}
	l.begun++
	return nil
}

// Saw notes a call under the riddle, for the learner to come back to.
func (l *Lab) Saw(traceID string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.riddle != nil {
		l.riddle.Trace = traceID
	}
}

// Hint tells one hint more, as long as there is one.
func (l *Lab) Hint() error {
	return l.solve(func(r *Riddle) {
		if r.MoreHints > 0 {
			r.Hints, r.MoreHints = l.active.Hints[:len(r.Hints)+1], r.MoreHints-1
		}
	})
}

// Guess names a cause. A wrong one costs nothing.
func (l *Lab) Guess(f Fault) error {
	return l.solve(func(r *Riddle) {
		if f.Name == l.active.Name {
			r.Answer = &f
		} else {
			r.Wrong = append(r.Wrong, f)
		}
	})
}

// GiveUp tells the answer. The fault stays on.
func (l *Lab) GiveUp() error { return l.solve(func(r *Riddle) { r.Answer = new(l.active) }) }

// solve calls f with the riddle that is on, if it is not solved.
func (l *Lab) solve(f func(*Riddle)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.riddle == nil || l.riddle.Answer != nil {
		return noRiddle
	}
	f(l.riddle)
	return nil
}

// State returns what may be told now.
func (l *Lab) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := State{Seed: l.seed}
	if l.riddle != nil {
		told := *l.riddle
		told.Wrong = slices.Clone(told.Wrong)
		s.Riddle, s.Fault = &told, told.Answer
	} else if l.active.Name != "" {
		s.Fault = new(l.active)
	}
	if s.Fault != nil {
		s.Active = s.Fault.Name
	}
	return s
}
