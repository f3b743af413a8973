package compare

import (
	"io"
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
		all = append(all, &measured{cpu: time.Duration(1000 * f * float64(time.Microsecond)), Metrics: m})
	}
	return all
}

func TestTheReportFitsItsWidth(t *testing.T) {
	r := &Report{Machine: "2 processors", Rounds: 4, Notes: []string{"uservice1 said <b>\x1b[31m"}}
	r.add("mocks at zero, 16 connections", underLoad, [2][]*measured{rounds(1, 2, 4, 3), rounds(3, 4, 20, 0)})
	r.add("without load", still, [2][]*measured{{{binaries: 13e6}}, {{binaries: 38e6}}})
	want := `mocks at zero, 16 connections
  requests per second            2500          3500    3.00×  2.00×–5.00×
  latency, p50                2.50 ms       3.50 ms    3.00×  2.00×–5.00×
  CPU per request                2 µs          4 µs    3.00×  2.00×–5.00×
without load
  binaries, both              13.0 MB       38.0 MB    2.92×
`
	if r.Figures != want { // ratios are taken round by round, and what nobody knows is left out
		t.Errorf("%s", r.Figures)
	}
	for _, columns := range []int{80, 120} {
		var b strings.Builder
		if err := r.Text(&b, columns); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(b.String()) {
			if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > columns {
				t.Errorf("%d columns: %s", n, line)
			}
		}
		for _, want := range []string{"without load\n  binaries, both", "Was it Redis?", "  - uservice1 said <b>"} {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%q is missing in\n%s", want, b.String())
			}
		}
		if strings.Contains(b.String(), "\x1b") {
			t.Errorf("%q", b.String())
		}
	}
	if err := (&Report{}).Text(io.Discard, 80); err != nil {
		t.Error(err)
	}
}
