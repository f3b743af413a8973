package stack

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"example.com/grafana-tempo-go-demo/demo/lab"
)

// names reports which faults a text names.
func names(text string) []string {
	var found []string
	for _, f := range lab.Faults() {
		if strings.Contains(text, f.Name) || strings.Contains(text, f.Title) {
			found = append(found, f.Name)
		}
	}
	return found
}

func TestNoLogLineTellsASecretFault(t *testing.T) {
	o := options(t)
	s := start(t, o)
	for range lab.Faults() {
		before := len(s.logs())
		if err := s.Faults().Begin(); err != nil {
			t.Fatal(err)
		}
		s.ask(t, "uservice3") // which may kill
		if err := s.Faults().GiveUp(); err != nil {
			t.Fatal(err)
		}
		// Which services start again would tell as much as a name. One more may be killed.
		if again := slices.Compact(startedAgain(s.logs()[before:])); strings.Join(again, " ") != "uservice3 uservice4" {
			t.Errorf("started again: %s", again)
		}
	}
	if told := names(s.logs() + o.Messages.(*bytes.Buffer).String()); len(told) > 0 {
		t.Errorf("the logs name %q:\n%s", told, s.logs())
	}
	if n := strings.Count(s.logs(), `"fault":"random"`); n != len(lab.Faults()) {
		t.Errorf("%d changes are logged", n)
	}
}
