package story

import (
	"encoding/json"
	"fmt"
	"math"
	"time"
)

// Time is a length of time, or a moment since a trace began. As JSON it is an object with "ms", a
// number, and "text", which String returns.
type Time time.Duration

// MarshalJSON writes both forms.
func (t Time) MarshalJSON() ([]byte, error) {
	text, err := json.Marshal(t.String())
	return fmt.Appendf(nil, `{"ms":%g,"text":%s}`, t.MS(), text), err
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
	switch whole, rest := int(d/unit), d%unit; {
	case whole >= 100:
		return fmt.Sprintf("%d %s", whole, name)
	case whole >= 10:
		return fmt.Sprintf("%d.%d %s", whole, rest*10/unit, name)
	default:
		return fmt.Sprintf("%d.%02d %s", whole, rest*100/unit, name)
	}
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
	return fmt.Appendf(nil, "[%g,%g]", i.From.MS(), i.To.MS()), nil
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
