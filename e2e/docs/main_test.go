// Package docs holds the documentation to what the programs and the configuration are: commands, flags, variables, addresses,
// files and links.
package docs

import (
	"os"
	"testing"

	"example.com/grafana-tempo-go-demo/e2e/internal/testbed"
)

func TestMain(m *testing.M) { os.Exit(testbed.Run(m)) }
