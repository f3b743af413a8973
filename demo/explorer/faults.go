package explorer

import (
	"errors"
	"fmt"
	"net/http"

	"example.com/grafana-tempo-go-demo/demo/lab"
)

// riddle is the fault that the reader looks for, or has found; nil if there is none.
func (e *explorer) riddle() *lab.Riddle {
	if e.Faults == nil {
		return nil
	}
	return e.Faults.State().Riddle
}

// hiding reports whether a fault is on that the reader looks for: the page shows evidence alone.
func (e *explorer) hiding() bool {
	r := e.riddle()
	return r != nil && r.Answer == nil
}

// faults tells what may be told of what is broken. The names are elsewhere: in this answer one might
// look for the one that is a secret.
func (e *explorer) faults(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, e.Faults.State())
}

// allFaults lists those that can be chosen, as cause or as fault.
func allFaults(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, lab.Faults()) }

// changeFaults turns a fault on by its name, and any other off; an empty name mends everything. Or it does
// what the learner wants with a fault whose name is a secret.
func (e *explorer) changeFaults(w http.ResponseWriter, r *http.Request) {
	var wish struct{ Do, Name string }
	if !readJSON(w, r, &wish) {
		return
	}
	fault, known := lab.Named(wish.Name)
	if !known && (wish.Name != "" || wish.Do == "guess") {
		fail(w, http.StatusBadRequest, "There is no such fault. GET /api/faults/all lists them.")
		return
	}
	change, ok := map[string]func() error{
		"":        func() error { return e.Faults.Set(wish.Name) },
		"begin":   e.Faults.Begin,
		"hint":    e.Faults.Hint,
		"give-up": e.Faults.GiveUp,
		"guess":   func() error { return e.Faults.Guess(fault) },
	}[wish.Do]
	if !ok {
		fail(w, http.StatusBadRequest, "do takes begin, hint, guess or give-up, or nothing.")
		return
	}
	err := change()
	if refusal, ok := errors.AsType[lab.Refusal](err); ok {
		fail(w, http.StatusConflict, refusal.Error())
		return
	}
	if err != nil {
		e.Logger.Warn("fault", "error", err.Error())
		fail(w, http.StatusInternalServerError, fmt.Sprintf("The change did not work: %v.", err))
		return
	}
	e.faults(w, r)
}
