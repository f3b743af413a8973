package term

import (
	"os"

	"golang.org/x/sys/windows"
)

// sequences makes the console obey control sequences, and reports whether it does.
func sequences(f *os.File) bool {
	var mode uint32
	if err := windows.GetConsoleMode(windows.Handle(f.Fd()), &mode); err != nil {
		return false
	}
	return windows.SetConsoleMode(windows.Handle(f.Fd()), mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) == nil
}
