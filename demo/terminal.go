package main

import (
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/term"

	"example.com/grafana-tempo-go-demo/demo/waterfall"
)

// isTerminal tells whether somebody reads w as it is written.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// colours tells whether w is a terminal that obeys control sequences, and whose user does not mind: https://no-color.org
func colours(w io.Writer) bool {
	return isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && sequences(w.(*os.File))
}

// terminalWidth is how many columns w has: what COLUMNS says, or the terminal, or else the usual number. Lines longer
// than 160 are hard to follow with the eye.
func terminalWidth(w io.Writer) int {
	width := 0
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		width = n
	} else if f, ok := w.(*os.File); ok {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil {
			width = n
		}
	}
	if width <= 0 {
		return waterfall.DefaultWidth
	}
	return min(width, 160)
}

// asciiOnly tells whether the locale is one that cannot show box-drawing characters. Windows has no such variables, and
// Go writes UTF-16 to its console.
func asciiOnly(getenv func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} { // POSIX: the first that is set decides
		if v := getenv(name); v != "" {
			v = strings.ToLower(v)
			return !strings.Contains(v, "utf-8") && !strings.Contains(v, "utf8")
		}
	}
	return runtime.GOOS != "windows"
}
