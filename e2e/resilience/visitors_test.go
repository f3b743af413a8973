//go:build unix

package resilience

import (
	"runtime"
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

// All visitors ask at the same time, twice, with the default mock calls of 1.1 to 2.2 s. How much
// longer they wait depends on the machine, so the test only logs it.
func TestFiveThousandVisitorsAtOnce(t *testing.T) {
	const rounds, spare = 2, 300
	s := startStack(t, nil, func(o *stack.Options) { o.Env = nil })
	people := min(5000, (openFiles(t)-spare)/3) // gateway and visitors share this process
	if runtime.GOOS != "linux" {
		people = min(people, 2000) // other systems have no more than 16,000 ports for all connections together
	}
	if people < 100 {
		t.Skipf("a process may have %d files open", openFiles(t))
	}
	client := newClient(t)
	for range rounds {
		waited := askTogether(t, client, people, s.urls.Gateway)
		t.Logf("%d visitors: p50 %.2f s, p99 %.2f s", people, waited[people/2].Seconds(), waited[people*99/100].Seconds())
	}
	client.CloseIdleConnections()
	s.checkNoneDropped(t)
	for _, service := range []string{"uservice3", "uservice4"} {
		// A new connection for each request would make it people*rounds.
		if n := s.connections(t, service); n > people*5/4 {
			t.Errorf("%s was asked over %d connections", service, n)
		}
		// GOMEMLIMIT is 640 MiB, and the runtime does not count all. A connection that is kept open
		// costs each side at most two goroutines.
		s.checkResources(t, service, 720<<20, float64(4*people+100))
	}
}
