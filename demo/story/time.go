package story

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// Time is a length of time, or a moment since a trace began. As JSON it is an object with "ms", a
// number, and "text", which String returns.
type Time time.Duration

// MarshalJSON writes both forms.
func (t Time) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, `{"ms":%v,"text":"%s"}`, t.MS(), t), nil
}

// MS returns milliseconds.
func (t Time) MS() float64 { return float64(t) / float64(time.Millisecond) }

// String writes three digits in the unit that fits: "812 µs", "1.53 s"; from a minute on "2m5s".
// Further digits are cut off, as Tempo cuts off what is less than a millisecond: so a list, which has
// Tempo's number, and a trace say the same.
func (t Time) String() string {
	d := time.Duration(t)
	switch {
	case d < 0:
		return "-" + Time(-max(d, -math.MaxInt64)).String()
	case d == 0:
		return "0 ms"
	case d < time.Microsecond:
		return fmt.Sprintf("%d ns", d)
	case d >= time.Minute:
		return d.Truncate(time.Second).String()
	}
	unit, name := time.Microsecond, "µs"
	for _, next := range []string{"ms", "s"} {
		if d >= 1000*unit {
			unit, name = 1000*unit, next
		}
	}
	whole, places := d/unit, 2
	for size := whole; size >= 10 && places > 0; size /= 10 {
		places--
	}
	step := unit / [...]time.Duration{1, 10, 100}[places]
	return strconv.FormatFloat(float64(d/step*step)/float64(unit), 'f', places, 64) + " " + name
}

// Percent writes a part of a whole.
func Percent(part, whole Time) string {
	switch p := 100 * float64(part) / float64(max(1, whole)); {
	case p > 0 && p < 0.1:
		return "<0.1 %"
	case p < 9.95:
		return fmt.Sprintf("%.1f %%", p)
	default:
		return fmt.Sprintf("%.0f %%", p)
	}
}

// Interval is a piece of time, from a moment since the trace began to another. As JSON it is a pair
// of milliseconds.
type Interval struct{ From, To Time }

// MarshalJSON writes the pair.
func (i Interval) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, "[%v,%v]", i.From.MS(), i.To.MS()), nil
}

// length is the sum of pieces.
func length(pieces []Interval) (sum Time) {
	for _, p := range pieces {
		sum += p.To - p.From
	}
	return sum
}

// without returns a piece of time less that of others, which are in order.
func without(whole Interval, others []Interval) (pieces []Interval) {
	at := whole.From
	for _, o := range others {
		if at >= whole.To {
			break
		}
		if o.From > at {
			pieces = append(pieces, Interval{at, min(o.From, whole.To)})
		}
		at = max(at, o.To)
	}
	if at < whole.To {
		pieces = append(pieces, Interval{at, whole.To})
	}
	return pieces
}
