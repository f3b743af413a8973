package story

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/grafana-tempo-go-demo/demo/tempo"
)

func TestLinesBelongToTheirSpans(t *testing.T) {
	start := time.Unix(100, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	spans := []*tempo.Span{
		{SpanID: "1", Service: "client", Kind: "client", Start: at(0), End: at(50)},
		{SpanID: "1", Service: "server", Kind: "server", Start: at(10), End: at(40)}, // with its client's id, as Zipkin has it
	}
	found := []tempo.Line{
		{Time: at(-5), Service: "client", SpanID: "1", Text: "early"},
		{Time: at(20), Service: "server", SpanID: "1", Text: "served"},
		{Time: at(30), SpanID: "2", Text: "elsewhere"},
		{Time: at(90), Service: "other", Text: "of no span", Attributes: map[string]any{"b": "2", "a": "1"}},
	}
	told := func(lines []Line) string {
		var b strings.Builder
		for _, l := range lines {
			fmt.Fprintf(&b, "%s %s %d %v; ", l.At, l.Service, l.Span, l.Attributes)
		}
		return b.String()
	}
	trace := Tell(tempo.NewTrace("f", spans), Options{})
	index := map[string]int{}
	for i, s := range trace.Spans {
		index[s.Service] = i
	}
	want := fmt.Sprintf("-5.00 ms client %d []; 20.0 ms server %d []; 30.0 ms unknown service -1 []; 90.0 ms other -1 [{a 1 } {b 2 }]; ", index["client"], index["server"])
	if got := told(Lines(found, trace)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := told(Lines(found[:2], nil)); got != "0 ms client -1 []; 25.0 ms server -1 []; " {
		t.Errorf("without spans: %s", got)
	}
}
