//go:build unix

package resilience

import (
	"net/http"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"example.com/grafana-tempo-go-demo/demo/stack"
)

// openFiles returns how many files this process may have open. The Go runtime raises that to the
// hard limit at its start.
func openFiles(t *testing.T) int {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	return int(min(limit.Cur, 1<<20))
}

// All visitors ask at the same time, with the default mock calls of 1.1 to 2.2 s.
func TestFiveThousandVisitorsAtOnce(t *testing.T) {
	const spare = 300
	s := startStack(t, nil, func(o *stack.Options) { o.Env = nil })
	people := min(5000, (openFiles(t)-spare)/3) // gateway and visitors share this process
	if runtime.GOOS != "linux" {
		people = min(people, 2000) // other systems have no more than 16,000 ports for all connections together
	}
	if people < 100 {
		t.Skipf("a process may have %d files open", openFiles(t))
	}
	client := newClient(t)
	var all sync.WaitGroup
	for range people {
		all.Go(func() {
			if a, err := s.visit(t.Context(), client, "uservice3", ""); err != nil || a.status != http.StatusOK {
				t.Errorf("answered %d, %v", a.status, err)
			}
		})
	}
	all.Wait()
	client.CloseIdleConnections()
	s.checkNoneDropped(t)
	for _, service := range []string{"uservice3", "uservice4"} {
		// GOMEMLIMIT is 640 MiB, and the runtime does not count all. A connection that is kept open
		// costs each side at most two goroutines.
		s.checkResources(t, service, 720<<20, float64(4*people+100))
	}
}
