package traceid

import (
	"strings"
	"testing"
)

func TestTrace(t *testing.T) {
	const whole = "0123456789abcdef0123456789abcdef"
	for id, want := range map[string]string{
		whole:                              whole,
		"0123456789ABCDEF0123456789abcdef": whole,
		" " + whole:                        "",
		"1":                                Pad("1", TraceDigits),
		"":                                 "",
		"0":                                "",
		"xyz":                              "",
		whole + "0":                        "",
		strings.Repeat("9", 1<<20):         "",
	} {
		got, err := Trace(id)
		if got != want || (err == nil) != (want != "") || err != nil && len(err.Error()) > 300 {
			t.Errorf("Trace(%.40q) = %q, %v; want %q", id, got, err, want)
		}
		if err != nil && !strings.HasPrefix(err.Error(), `trace id "`) {
			t.Errorf("Trace(%.40q): %v", id, err)
		}
	}
}

func TestHex(t *testing.T) {
	if got := Hex([]byte{0xab}, 4); got != "00ab" {
		t.Errorf("got %q", got)
	}
	if id, err := Span("AB"); id != "00000000000000ab" || err != nil {
		t.Errorf("got %q, %v", id, err)
	}
}
