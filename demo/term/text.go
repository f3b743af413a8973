// Package term writes text for people at a terminal: lines of a given width, colours where they are
// understood, one line that rewrites itself, and counts in words.
package term

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mattn/go-runewidth"
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

// cells knows how wide characters are. What East Asian fonts draw wide or narrow is narrow here.
var cells = runewidth.Condition{StrictEmojiNeutral: true}

// Columns is how many cells of a terminal a text takes.
func Columns(s string) int { return cells.StringWidth(s) }

// Fit shortens a text to n columns. Where it does, the text ends with mark.
func Fit(s string, n int, mark string) string { return cells.Truncate(s, n, mark) }

// Pad fills a text up to n columns with spaces behind it.
func Pad(s string, n int) string { return cells.FillRight(s, n) }

// Wrap breaks a text at spaces, or within longer words, into one or more lines of up to n columns.
// Libraries break at hyphens too, and who copies uber-trace-id or a flag has half of it.
func Wrap(text string, n int) []string {
	lines := []string{""}
	for word := range strings.FieldsSeq(text) {
		last := &lines[len(lines)-1]
		if *last != "" && Columns(*last)+1+Columns(word) <= n {
			*last += " " + word
			continue
		}
		if *last == "" {
			lines = lines[:len(lines)-1]
		}
		for start := Fit(word, n, ""); start != word && start != ""; start = Fit(word, n, "") {
			lines = append(lines, start)
			word = word[len(start):]
		}
		lines = append(lines, word)
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
