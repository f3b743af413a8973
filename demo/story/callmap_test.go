package story

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/grafana-tempo-go-demo/demo/tempo"
)

// mapped writes a map in lines: each node with its place and its calls, and who calls it.
func mapped(m *Map) string {
	var lines []string
	for _, n := range m.Nodes {
		line := fmt.Sprintf("%s at %g,%d: %d, %d failed, %s, %s", n.Name, n.Column, n.Row, n.In.Calls, n.In.Errors, n.In.Rate, n.In.Median)
		if n.Silent {
			line += ", silent"
		}
		for _, c := range m.Calls {
			if c.To == n.Name {
				line += fmt.Sprintf(", by %s %d", c.From, c.Stats.Calls)
			}
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func TestWhoCallsWhom(t *testing.T) {
	db := attributes{"db.system.name": "postgresql"}
	whole := append(proxied("uservice3", 200), span(3, 2, "server", "uservice3", "handle", 2, 90), span(4, 3, "client", "uservice3", "call", 3, 80, answered),
		span(5, 4, "server", "uservice4", "handle", 4, 70), span(6, 5, "client", "uservice4", "database_call", 5, 60, db, failure("down")))
	for _, tc := range []struct {
		name, want string
		traces     [][]*tempo.Span
	}{
		{"none", "", nil},
		{"two, and one of a plain service", `gateway at 0.5,0: 3, 0 failed, 18/min, 1.00 s
uservice1 at 0,1: 1, 0 failed, 6/min, 1.00 s, silent, by gateway 1
uservice3 at 1,1: 2, 0 failed, 12/min, 88.0 ms, by gateway 2
uservice4 at 0.5,2: 2, 0 failed, 12/min, 66.0 ms, by uservice3 2
postgresql at 0.5,3: 2, 2 failed, 12/min, 55.0 ms, silent, by uservice4 2`, [][]*tempo.Span{whole, whole, proxied("uservice1", 200)}},
		{"in a circle", `a at 0,0: 2, 0 failed, 12/min, 4.00 ms, by b 1
b at 0,1: 1, 0 failed, 6/min, 6.00 ms, by a 1`, [][]*tempo.Span{one(span(1, 0, "server", "a", "x", 0, 8), span(2, 1, "server", "b", "y", 1, 7), span(3, 2, "server", "a", "z", 2, 6))}},
	} {
		var traces []*Trace
		for _, spans := range tc.traces {
			traces = append(traces, tell(spans, nil, 0))
		}
		m := NewMap(traces, epoch.Add(10*time.Second))
		if got := mapped(m); got != tc.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tc.name, got, tc.want)
		}
	}
	var many []*tempo.Span
	for i := range 3 * maxNodes {
		many = append(many, span(i+1, i, "server", fmt.Sprint("s", i), "x", 0, 1))
	}
	if m := NewMap([]*Trace{tell(many, nil, 0)}, epoch); len(m.Nodes) != maxNodes || m.Rows > maxNodes || !strings.Contains(m.Text, "40 services with the most calls, of 120") {
		t.Errorf("%d nodes, %d rows: %s", len(m.Nodes), m.Rows, m.Text)
	}
}
