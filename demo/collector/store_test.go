package collector

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

func TestSpansMergeInAnyOrderAndBatch(t *testing.T) {
	var all []*exportRequest
	for i := range 40 {
		service := attrs("service.name", string(rune('a'+i%3)))
		all = append(all, export(service, newSpan(1, uint64(i+1), uint64(i), fmt.Sprint("span ", i), i, 100-i)))
	}
	build := func(batch int) *tracepb.TracesData {
		c := New(discard)
		for several := range slices.Chunk(all, batch) {
			req := &exportRequest{}
			for _, r := range several {
				req.ResourceSpans = append(req.ResourceSpans, r.ResourceSpans...)
			}
			send(t, c, req)
		}
		return c.store.get(idOf(1)).data()
	}
	want := build(len(all))
	if n := len(want.ResourceSpans); n != 3 {
		t.Fatalf("got %d resources, want 3", n)
	}
	for batch := range 20 {
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		if got := build(batch + 1); !proto.Equal(got, want) {
			t.Fatalf("another order in batches of %d makes another trace: %v", batch+1, got)
		}
	}
}

func TestASpanIsKnownByItsIDAndKind(t *testing.T) {
	c := New(discard)
	client, again, server := newSpan(1, 1, 0, "client", 0, 1), newSpan(1, 1, 0, "again", 0, 1), newSpan(1, 1, 0, "server", 1, 1)
	client.Kind, again.Kind, server.Kind = 3, 3, 2 // a client's span and a server's, as Zipkin makes them
	send(t, c, export(nil, client, again), export(attrs("service.name", "other"), server), export(nil, again))
	got := c.store.get(idOf(1)).spans
	if len(got) != 2 || got[0].Name != "client" || got[1].Name != "server" {
		t.Errorf("got %v", got)
	}
}

func TestAPublishedTraceNeverChanges(t *testing.T) {
	c := New(discard)
	send(t, c, export(nil, newSpan(1, 1, 0, "root", 10, 5)))
	before := c.store.get(idOf(1))
	send(t, c, export(nil, newSpan(1, 2, 1, "child", 0, 50)))
	if len(before.spans) != 1 || before.start != 10e6 || before.end != 15e6 {
		t.Errorf("the trace read earlier is now %+v", before)
	}
}

func TestTraceWithoutNewsForTheLongestGoesFirst(t *testing.T) {
	c := sized(60_000)
	n := uint64(0)
	fill := func() {
		n++
		send(t, c, export(nil, newSpan(n, 1, 0, strings.Repeat("x", 1000), 0, 1)))
	}
	for c.store.get(idOf(1)) != nil || n == 0 {
		fill()
		if n == 3 { // the second hears from somebody, the first does not
			send(t, c, export(nil, newSpan(2, 2, 1, "late", 0, 1)))
		}
	}
	if c.store.get(idOf(2)) == nil {
		t.Error("the trace that just got a span went first")
	}
	if c.store.bytes > c.store.maxBytes {
		t.Errorf("%d bytes are kept, more than %d", c.store.bytes, c.store.maxBytes)
	}
}

func TestTraceLargerThanItsShareIsCutAndSaysSo(t *testing.T) {
	c := sized(100_000)
	send(t, c, export(nil, newSpan(9, 1, 0, "other", 0, 1)))
	var spans []*tracepb.Span
	for i := range 100 {
		spans = append(spans, newSpan(1, uint64(i+1), 0, strings.Repeat("x", 1000), 0, 1))
	}
	rejected, why, err := c.receiveTraces(export(nil, spans...))
	if err != nil {
		t.Fatal(err)
	}
	kept := len(c.store.get(idOf(1)).spans)
	if rejected != 100-kept || kept == 0 || kept > 25 {
		t.Errorf("%d spans kept and %d reported as rejected", kept, rejected)
	}
	if !strings.Contains(why, "25000 bytes") {
		t.Errorf("the reason is %q", why)
	}
	if c.store.get(idOf(9)) == nil {
		t.Error("another trace had to go for it")
	}
}

// The bound is one on memory, so the estimate must be near the heap's truth.
func TestBoundHoldsForTheHeap(t *testing.T) {
	if testing.Short() {
		t.Skip("measures the heap")
	}
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	for name, make := range map[string]func(uint64) *exportRequest{
		"demo traces": demoTrace,
		"tiny spans":  func(n uint64) *exportRequest { return export(nil, newSpan(n, 1, 0, "", 0, 0)) },
	} {
		c := sized(16 << 20)
		before := heap()
		for n := uint64(1); c.store.get(idOf(1)) != nil || n == 1; n++ {
			send(t, c, make(n))
		}
		used := heap() - before
		t.Logf("%s: %d traces, %d bytes estimated, %d on the heap", name, c.store.order.Len(), c.store.bytes, used)
		if ratio := float64(used) / float64(c.store.bytes); ratio > 1.4 {
			t.Errorf("%s: the heap holds %.2f times the estimate", name, ratio)
		}
		runtime.KeepAlive(c)
	}
}
