// Package resilience breaks what is around the services, with real binaries, and says who is
// answered with what all the same. Its tests start stacks of their own: the shared one is not
// theirs to break.
package resilience

import (
	"os"
	"testing"

	"example.com/grafana-tempo-go-demo/e2e/internal/testbed"
)

func TestMain(m *testing.M) { os.Exit(testbed.Run(m)) }
