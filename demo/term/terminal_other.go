//go:build !windows

package term

import "os"

// sequences reports whether a terminal obeys control sequences; here they all do.
func sequences(*os.File) bool { return true }
