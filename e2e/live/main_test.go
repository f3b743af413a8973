// Package live judges a running stack: the no-Docker run, which the tests start, or the one that
// the variables E2E_* name.
package live

import (
	"os"
	"testing"

	"example.com/grafana-tempo-go-demo/e2e/internal/testbed"
)

func TestMain(m *testing.M) { os.Exit(testbed.Run(m)) }
