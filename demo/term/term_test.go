package term

import (
	"slices"
	"testing"
)

func TestWrap(t *testing.T) {
	for _, c := range []struct {
		text string
		n    int
		want []string
	}{
		{"", 10, []string{""}},
		{"one two three", 7, []string{"one two", "three"}},
		{"  spaces   go ", 20, []string{"spaces go"}},
		{"abcdefghij k", 4, []string{"abcd", "efgh", "ij k"}},
		{"日本語 x", 4, []string{"日本", "語 x"}},
		{"日", 1, []string{"日"}}, // wider than the line: it cannot be broken
	} {
		if got := Wrap(c.text, c.n); !slices.Equal(got, c.want) {
			t.Errorf("Wrap(%q, %d) = %q, want %q", c.text, c.n, got, c.want)
		}
	}
}

func TestHang(t *testing.T) {
	if got, want := Hang("1. ", "one two three", 10), "1. one two\n   three\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWords(t *testing.T) {
	for got, want := range map[string]string{
		Count(1, "span"):              "1 span",
		Count(0, "span"):              "0 spans",
		List([]string{"a"}):           "a",
		List([]string{"a", "b", "c"}): "a, b or c",
		Clean("a\x1b[1m\u202eb\xff"):  "a\uFFFD[1m\uFFFDb\uFFFD",
		Fit("uservice3", 5, "."):      "user.",
		Pad("日", 3) + "|":             "日 |",
		Paint(true, Red, "x"):         Red + "x" + Reset,
		Paint(false, Red, "x"):        "x",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
