package compare

import "testing"

// That all spans of a pair are counted is held by TestBothPairsAreMeasuredInTurn.
func TestMalformedExportsHaveNoSpans(t *testing.T) {
	for name, export := range map[string]string{"empty": "", "cut off": "\x0a\x7f\x12", "no protobuf": "hello, world"} {
		if n := count([]byte(export), pathToSpans); n != 0 {
			t.Errorf("%s: %d spans", name, n)
		}
	}
}
