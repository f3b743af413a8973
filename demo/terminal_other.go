//go:build !windows

package main

import "os"

// sequences tells whether a terminal obeys control sequences; here they all do.
func sequences(*os.File) bool { return true }
