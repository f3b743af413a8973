package term

import (
	"io"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/term"
)

// ANSI sequences for colours. Words must say the same without them.
const (
	Reset = "\x1b[0m"
	Red   = "\x1b[1;31m"
	Green = "\x1b[32m"
	Faint = "\x1b[2m"
)

// Paint puts a text between a colour and a reset, if on.
func Paint(on bool, colour, text string) string {
	if !on || colour == "" {
		return text
	}
	return colour + text + Reset
}

// IsTerminal reports whether f is a terminal: an *os.File that somebody looks at.
func IsTerminal(f any) bool {
	file, ok := f.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// Colours reports whether w is a terminal that obeys control sequences, and whose user wants them:
// https://no-color.org. On Windows only Windows Terminal is known to, which sets WT_SESSION.
func Colours(w io.Writer) bool {
	return IsTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" &&
		(runtime.GOOS != "windows" || os.Getenv("WT_SESSION") != "")
}

// Width is how many columns w has: what COLUMNS says, or the terminal, or else DefaultWidth. It is
// at most 160, because the eye gets lost in longer lines.
func Width(w io.Writer) int {
	columns, _ := strconv.Atoi(os.Getenv("COLUMNS"))
	if f, ok := w.(*os.File); ok && columns <= 0 {
		columns, _, _ = term.GetSize(int(f.Fd()))
	}
	if columns <= 0 {
		return DefaultWidth
	}
	return min(columns, 160)
}

// ClearLine takes back what stands on the terminal's line.
const ClearLine = "\r\x1b[K"

// Rewrite replaces the terminal's line. It cuts it, because one that wraps cannot be replaced.
func Rewrite(text string) string { return ClearLine + Fit(text, DefaultWidth-2, "") }
