package explorer

import (
	"errors"
	"fmt"
	"net/http"

	"example.com/grafana-tempo-go-demo/demo/lab"
)

const noSuchFault = "There is no such fault. GET /api/faults/all lists them."

// hiding reports whether a fault is on that the reader looks for: the page shows evidence alone.
func (e *explorer) hiding() bool {
	if e.Faults == nil {
		return false
	}
	r := e.Faults.State().Riddle
	return r != nil && r.Answer == nil
}

// faults tells what may be told of what is broken. The names are elsewhere: in this answer one might
// look for the one that is a secret.
func (e *explorer) faults(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, e.Faults.State())
}

// allFaults lists those that can be chosen, as cause or as fault.
func allFaults(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, lab.Faults()) }

// setFault turns a fault on by its name, and any other off; an empty name mends everything.
func (e *explorer) setFault(w http.ResponseWriter, r *http.Request) {
	var wish struct{ Name string }
	if !readJSON(w, r, &wish) {
		return
	}
	if _, ok := lab.Named(wish.Name); wish.Name != "" && !ok {
		fail(w, http.StatusBadRequest, noSuchFault)
		return
	}
	e.changed(w, r, e.Faults.Set(wish.Name))
}

// riddle does what the learner wants with a fault whose name is a secret.
func (e *explorer) riddle(w http.ResponseWriter, r *http.Request) {
	var wish struct{ Do, Cause string }
	if !readJSON(w, r, &wish) {
		return
	}
	switch wish.Do {
	case "begin":
		e.changed(w, r, e.Faults.Begin())
	case "hint":
		e.changed(w, r, e.Faults.Hint())
	case "give-up":
		e.changed(w, r, e.Faults.GiveUp())
	case "guess":
		cause, ok := lab.Named(wish.Cause)
		if !ok {
			fail(w, http.StatusBadRequest, noSuchFault)
			return
		}
		e.changed(w, r, e.Faults.Guess(cause))
	default:
		fail(w, http.StatusBadRequest, "do takes begin, hint, guess or give-up.")
	}
}

// changed answers what became of a change.
func (e *explorer) changed(w http.ResponseWriter, r *http.Request, err error) {
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
