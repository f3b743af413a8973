// Package docs compares the documentation with the programs and the configuration: commands, flags,
// variables, URLs, files and links.
package docs

import (
	"os"
	"testing"

	"example.com/grafana-tempo-go-demo/e2e/internal/testbed"
)

func TestMain(m *testing.M) { os.Exit(testbed.Run(m)) }
