package waterfall

import (
	"time"

	"example.com/grafana-tempo-go-demo/demo/term"
)

// Until all callers use package term.
const DefaultWidth = term.DefaultWidth

func Clean(s string) string           { return term.Clean(s) }
func Duration(d time.Duration) string { return term.Duration(d) }
