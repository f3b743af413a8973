package compare

import (
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// rounds are three, each with the next of the figures.
func rounds(figures ...float64) (all []*measured) {
	for _, f := range figures {
		m := vegeta.Metrics{Requests: 1000, Throughput: 1000 * f}
		m.Latencies.P50 = time.Duration(f * float64(time.Millisecond))
		all = append(all, &measured{cpu: time.Duration(1000 * f * float64(time.Microsecond)), result: &result{Metrics: m}})
	}
	return all
}

func TestRatiosAreTakenRoundByRound(t *testing.T) {
	got := setSideBySide(underLoad, rounds(1, 2, 4, 3), rounds(3, 4, 20, 0))
	want := []Metric{
		{"requests per second", "1/s", 2500, 3500, &Spread{3, 2, 5}},
		{"latency, p50", "ms", 2.5, 3.5, &Spread{3, 2, 5}},
		{"CPU per request", "us", 2.5, 3.5, &Spread{3, 2, 5}},
	}
	if !reflect.DeepEqual(got, want) { // what nobody knows is left out
		t.Errorf("%+v", got)
	}
}

func TestTheTextFitsItsWidth(t *testing.T) {
	r := &Report{Machine: "2 processors", Rounds: 3, Notes: []string{"uservice1 said <b>\x1b[31m"},
		Loads: []Load{{Name: "mocks at zero", Connections: 16, Metrics: setSideBySide(underLoad, rounds(1, 2, 4), rounds(3, 4, 20))}},
		Still: []Metric{{"binaries, both", "bytes", 13e6, 38e6, &Spread{2.923, 2.923, 2.923}}, {"x", "bytes", 0, 1, nil}}}
	for _, columns := range []int{80, 120} {
		for _, ascii := range []bool{false, true} {
			var b strings.Builder
			if err := r.Text(&b, columns, ascii); err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(b.String()) {
				if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > columns {
					t.Errorf("%d columns: %s", n, line)
				}
			}
			for _, want := range []string{"requests per second", "2000", "3.00", "2.92", "Was it Redis?", "13.0 MB", "<b>"} {
				if !strings.Contains(b.String(), want) {
					t.Errorf("%q is missing in\n%s", want, b.String())
				}
			}
			unprintable := func(r rune) bool { return r == '\x1b' || ascii && r > 126 }
			if strings.Contains(b.String(), "memory") || strings.ContainsFunc(b.String(), unprintable) {
				t.Errorf("%q", b.String())
			}
		}
	}
	if err := (&Report{}).Text(io.Discard, 80, false); err != nil {
		t.Error(err)
	}
}
