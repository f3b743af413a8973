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

// Fault is one way to break the telemetry. Its sentences are for the reader, and the tests hold the
// demo to them; the rest says how it is done.
type Fault struct {
	Name      string   `json:"name"`      // of -break, such as "drop-header"
	Title     string   `json:"title"`     // what is done
	Hints     []string `json:"-"`         // the symptom, from what is plain to what tells most
	Symptom   string   `json:"symptom"`   // what is seen then: all hints
	Diagnosis string   `json:"diagnosis"` // why it is seen
	Fix       string   `json:"fix"`       // what one would do about it

	// Env overrules variables of services, by their names; an empty value removes one.
	Env map[string]map[string]string `json:"-"`
	// Gateway is what the gateway does: "drop" or "damage" the propagation headers, or "sample nothing".
	Gateway string `json:"-"`
	// Kills names a service that is killed, and started again, after the requests that it may serve.
	Kills string `json:"-"`
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
