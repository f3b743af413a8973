// Package term writes text for people at a terminal: lines of a given width, colours where they are
// understood, one line that rewrites itself, and counts and durations in words.
package term

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"
)

// DefaultWidth is how many columns text takes where nothing else is known.
const DefaultWidth = 80

// Clean makes text from elsewhere safe to print on one line. Control characters, line separators,
// invisible characters that reorder text, and bytes that are not UTF-8 become U+FFFD.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError ||
			unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co, unicode.Cs) {
			return utf8.RuneError
		}
		return r
	}, s)
}

// Columns is how many cells of a terminal a text takes.
func Columns(s string) int {
	n := 0
	for _, r := range s {
		n += runeColumns(r)
	}
	return n
}

func runeColumns(r rune) int {
	if unicode.In(r, unicode.Mn, unicode.Me) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// Fit shortens a text to n columns. Where it does, the text ends with mark.
func Fit(s string, n int, mark string) string {
	if Columns(s) <= n {
		return s
	}
	var b strings.Builder
	left := n - Columns(mark)
	for _, r := range s {
		if left -= runeColumns(r); left < 0 {
			break
		}
		b.WriteRune(r)
	}
	return b.String() + mark
}

// Pad fills a text up to n columns with spaces behind it.
func Pad(s string, n int) string { return s + strings.Repeat(" ", max(0, n-Columns(s))) }

// Wrap breaks a text at spaces, or within longer words, into one or more lines of up to n columns.
func Wrap(text string, n int) []string {
	lines := []string{""}
	for word := range strings.FieldsSeq(text) {
		last := &lines[len(lines)-1]
		switch {
		case *last == "":
			*last = word
		case Columns(*last)+1+Columns(word) <= n:
			*last += " " + word
		default:
			lines = append(lines, word)
		}
		for {
			last := &lines[len(lines)-1]
			start := Fit(*last, n, "")
			if start == *last || start == "" {
				break
			}
			rest := (*last)[len(start):]
			*last = start
			lines = append(lines, rest)
		}
	}
	return lines
}

// Hang wraps a text behind a lead such as "  1. ", indents further lines, and ends with a newline.
func Hang(lead, text string, columns int) string {
	indent := strings.Repeat(" ", Columns(lead))
	lines := Wrap(text, max(1, columns-len(indent)))
	return strings.TrimRight(lead+strings.Join(lines, "\n"+indent), " ") + "\n"
}

// Count writes a number of things: "1 span", "2 spans".
func Count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// List writes words as a sentence lists alternatives: "a, b or c".
func List(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// Duration writes about three digits in the unit that suits them: "149 ms", "1.56 s".
func Duration(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	switch {
	case d < 0:
		return "-" + Duration(-d)
	case d == 0:
		return "0 ms"
	case d < time.Millisecond:
		return fmt.Sprintf("%.2f ms", ms)
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", ms)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Round(time.Millisecond)/time.Millisecond)
	default:
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
}

// ASCII replaces what is not 7-bit: by the replacement listed, or by a question mark.
func ASCII(s string, replacements map[rune]rune) string {
	return strings.Map(func(r rune) rune {
		if ascii, ok := replacements[r]; ok {
			return ascii
		}
		if r > unicode.MaxASCII {
			return '?'
		}
		return r
	}, s)
}
