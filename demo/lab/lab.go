// Package lab has the ways in which the telemetry can be broken on purpose, as texts for the learner,
// and hides one of them on request: a riddle, of which it keeps the name until it is found.
package lab

import (
	_ "embed"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"
)

// Fault is one way to break the telemetry. All but Name are sentences for the reader; docs/lab.md has
// them too, and the tests hold the demo to them.
type Fault struct {
	Name      string   `json:"name"`      // of -break, such as "drop-header"
	Title     string   `json:"title"`     // what is done
	Hints     []string `json:"-"`         // the symptom, from what is plain to what tells most
	Symptom   string   `json:"symptom"`   // what is seen then: all hints
	Diagnosis string   `json:"diagnosis"` // why it is seen
	Fix       string   `json:"fix"`       // what one would do about it
}

// Switch breaks the telemetry of a running demo and mends it. Its methods may be called concurrently.
type Switch interface {
	// Active returns the name of the fault that is on, or "", and whether it is a secret.
	Active() (name string, secret bool)
	// Set turns one fault on and any other off; an empty name mends everything. It tells nobody the
	// name of a secret one. It returns when the change has taken effect, or with an error that says
	// what to do.
	Set(name string, secret bool) error
}

//go:embed faults.yaml
var faultsYAML []byte

// Faults returns all faults, in the order in which to try them. Callers share the slice.
var Faults = sync.OnceValue(func() (faults []Fault) {
	if err := yaml.Unmarshal(faultsYAML, &faults); err != nil {
		panic(err) // of the file that is built in
	}
	for i := range faults {
		faults[i].Symptom = strings.Join(faults[i].Hints, " ")
	}
	return faults
})

// Named returns a fault by its name.
func Named(name string) (Fault, bool) {
	i := slices.IndexFunc(Faults(), func(f Fault) bool { return f.Name == name })
	if i < 0 {
		return Fault{}, false
	}
	return Faults()[i], true
}
