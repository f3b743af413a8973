package live

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/e2e/internal/golden"
	"example.com/grafana-tempo-go-demo/e2e/internal/repo"
	"example.com/grafana-tempo-go-demo/e2e/internal/testbed"
)

// newTraceID returns 32 hexadecimal digits.
func newTraceID() string {
	id := make([]byte, 16)
	rand.Read(id) // never fails, see its documentation
	return hex.EncodeToString(id)
}

// callerSpan is the span id that tests send as a caller. No such span is in the trace store.
const callerSpan = "00000000000ca11e"

// watched says that the stack under test runs with deploy/compose/ebpf.yaml.
var watched = os.Getenv("E2E_EBPF") != ""

func TestGoldenTraces(t *testing.T) {
	for name, test := range map[string]struct {
		host, path string
		status     int
	}{
		"success":          {"uservice3.localhost", "/", 200},
		"redis-fails":      {"uservice3.localhost", "/?fail=redis", 500},
		"database-fails":   {"uservice3.localhost", "/?fail=database", 502},
		"unknown-wish":     {"uservice3.localhost", "/?fail=disk", 400},
		"no-such-page":     {"uservice3.localhost", "/nowhere", 404},
		"uservice4":        {"uservice4.localhost", "/", 200},
		"plain-uservice1":  {"uservice1.localhost", "/", 200},
		"plain-uservice2":  {"uservice2.localhost", "/", 200},
		"plain-redis-fail": {"uservice1.localhost", "/?fail=redis", 500},
		"plain-db-fails":   {"uservice1.localhost", "/?fail=database", 502},
		"unknown-host":     {"nobody.localhost", "/", 404},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if strings.HasPrefix(name, "plain") && watched {
				t.Skip("the kernel watches the plain pair")
			}
			// The test starts the trace, so that it knows the id even if no service returns it.
			id := newTraceID()
			status, response := testbed.Shared(t).Get(t, test.host, test.path, id+":"+callerSpan+":0:1")
			if status != test.status {
				t.Errorf("answered %d, want %d", status, test.status)
			}
			instrumented := strings.HasPrefix(test.host, "uservice3") || strings.HasPrefix(test.host, "uservice4")
			if named := strings.HasPrefix(response, "00-"+id+"-"); named != instrumented {
				t.Errorf("traceresponse is %q in trace %s", response, id)
			}
			golden := filepath.Join("testdata", name+".golden")
			want, err := os.ReadFile(golden)
			if err != nil && !*repo.Update {
				t.Fatal(err)
			}
			got := waitForTrace(t, id, string(want))
			if *repo.Update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(want) {
				t.Errorf("trace %s:\n%swant:\n%s", id, got, want)
			}
		})
	}
}

// waitForTrace returns the description of a trace as soon as it is the wanted one, or its last
// description when the time is over. With -update it waits for the proxy's first span, which ends
// last.
func waitForTrace(t *testing.T, id, want string) (got string) {
	t.Helper()
	testbed.Poll(t, func(ctx context.Context) bool {
		trace, err := testbed.Shared(t).Tempo.Trace(ctx, id)
		if errors.Is(err, tempo.ErrNotFound) || errors.Is(err, context.DeadlineExceeded) {
			return false
		} else if err != nil {
			t.Fatal(err)
		}
		got = golden.Describe(trace)
		if *repo.Update {
			return trace.Spans[0].ParentID == callerSpan &&
				!slices.ContainsFunc(trace.Spans[1:], func(s *tempo.Span) bool { return s.Parent == nil })
		}
		return got == want
	})
	return got
}

func TestTraceOfThePlainPairAsTheKernelSeesIt(t *testing.T) {
	if !watched {
		t.Skip("E2E_EBPF is not set: it says that the kernel watches the stack under test (docs/ebpf.md)")
	}
	t.Parallel()
	want, err := os.ReadFile(filepath.Join("testdata", "seen-by-the-kernel.golden"))
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	var got string
	if !testbed.Poll(t, func(ctx context.Context) bool {
		// The kernel sees nothing of the first requests, until OBI has found the programs.
		ids = append(ids, newTraceID())
		testbed.Shared(t).Get(t, "uservice1.localhost", "/", ids[len(ids)-1]+":"+callerSpan+":0:1")
		return slices.ContainsFunc(ids, func(id string) bool {
			trace, err := testbed.Shared(t).Tempo.Trace(ctx, id)
			if err == nil {
				got = golden.Describe(trace)
			}
			return err == nil && got == string(want)
		})
	}) {
		t.Errorf("of %d traces none is as wanted, the last one:\n%swant:\n%s", len(ids), got, want)
	}
}

func TestAnUnsampledCallerIsOverruled(t *testing.T) {
	t.Parallel()
	// Both ways of running the demo set the services' sampler to always_on, so that every request
	// is seen.
	id := newTraceID()
	testbed.Shared(t).Get(t, "uservice3.localhost", "/", id+":"+callerSpan+":0:0")
	var services []string
	if !testbed.Poll(t, func(ctx context.Context) bool {
		trace, err := testbed.Shared(t).Tempo.Trace(ctx, id)
		if err != nil {
			return false
		}
		services = nil
		for _, span := range trace.Spans {
			services = append(services, span.Service)
		}
		return slices.Contains(services, "uservice3") && slices.Contains(services, "uservice4")
	}) {
		t.Errorf("trace %s has spans of %v", id, services)
	}
}
