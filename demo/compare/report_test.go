package compare

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestRatiosAreTakenRoundByRound(t *testing.T) {
	m := newMetric("x", "ms", []float64{1, 2, 4}, []float64{3, 4, 20})
	if m.Plain != 2 || m.Instrumented != 4 || *m.Ratio != (Spread{Median: 3, Min: 2, Max: 5}) {
		t.Errorf("%+v, %+v", m, m.Ratio)
	}
	if m := newMetric("modules", "count", []float64{0}, []float64{40}); m.Ratio != nil || m.Instrumented != 40 {
		t.Errorf("a ratio to nothing: %+v", m)
	}
	if got := median([]float64{4, 1, 3, 2}); got != 2.5 {
		t.Errorf("median %v", got)
	}
}

// sample is a report as it might be.
func sample() *Report {
	r := &Report{Machine: Machine{"linux", "amd64", 2, "go1.26"}, Rounds: 3, Answers: readAnswers(),
		Notes: []string{"uservice1 said <b>\x1b[31m"}}
	for n, name := range []string{"mocks at zero", "mocks as they are"} {
		l := Load{Name: name, Connections: 16}
		for i := range 3 {
			v := float64(1 + i + 10*n)
			l.Plain.Rounds = append(l.Plain.Rounds,
				Round{RequestsPerSecond: 1000 * v, P50MS: v, P90MS: 2 * v, P99MS: 3 * v, CPUMicros: 50})
			l.Instrumented.Rounds = append(l.Instrumented.Rounds,
				Round{RequestsPerSecond: 400 * v, P50MS: 2 * v, P90MS: 5 * v, P99MS: 9 * v, CPUMicros: 140 + v})
		}
		for _, percent := range percents {
			l.Plain.Latencies = append(l.Plain.Latencies, Percentile{percent, percent / 10})
			l.Instrumented.Latencies = append(l.Instrumented.Latencies, Percentile{percent, percent / 5})
		}
		l.compareRounds()
		r.Loads = append(r.Loads, l)
	}
	r.Still = []Metric{
		newMetric("modules needed", "count", []float64{0}, []float64{44}),
		newMetric("binaries, both", "bytes", []float64{13e6}, []float64{38e6}),
	}
	return r
}

func TestTheTextFitsItsWidth(t *testing.T) {
	for _, o := range []struct {
		columns int
		ascii   bool
	}{{columns: 80}, {columns: 120}, {columns: 80, ascii: true}} {
		var b strings.Builder
		if err := sample().Text(&b, o.columns, o.ascii); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(b.String()) {
			if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > o.columns {
				t.Errorf("%d columns: %s", n, line)
			}
		}
		for _, want := range []string{"requests per second", "0.40", "2.00", "Was it Redis?", "modules needed", "<b>"} {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%q is missing in\n%s", want, b.String())
			}
		}
		if strings.Contains(b.String(), "memory") {
			t.Error("memory is there though nobody knows it")
		}
		if strings.Contains(b.String(), "\x1b") || o.ascii && strings.ContainsFunc(b.String(), func(r rune) bool { return r > 126 }) {
			t.Errorf("unprintable: %q", b.String())
		}
	}
}

func TestThePlotIsWellFormedAndNeedsNothingElse(t *testing.T) {
	var b bytes.Buffer
	r := sample()
	r.Loads[0].Name = "<b>"
	if err := r.SVG(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for decoder := xml.NewDecoder(strings.NewReader(text)); ; {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for _, never := range []string{"http", "NaN", "<b>", "ZgotmplZ"} {
		if strings.Contains(strings.ReplaceAll(text, `xmlns="http://www.w3.org/2000/svg"`, ""), never) {
			t.Errorf("%s in %s", never, text)
		}
	}
	if points, lines := strings.Count(text, "<circle"), strings.Count(text, "<polyline"); points != 11 || lines != 4 {
		t.Errorf("%d points and %d curves", points, lines)
	}
	empty := &Report{}
	if err := errors.Join(empty.SVG(io.Discard), empty.Text(io.Discard, 80, false)); err != nil {
		t.Error(err)
	}
}
