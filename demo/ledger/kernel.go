package ledger

import (
	"slices"

	"example.com/grafana-tempo-go-demo/demo/header"
)

// A service that is not instrumented writes no propagation header. Where it is watched by eBPF, the
// kernel writes one into the request that leaves, and that is how the ledger knows.

// watched finds out whether the kernel handed a trace on to a line: it had arrived at the service
// that calls, with another span.
func (b *builder) watched(n *node) {
	for _, h := range n.contexts {
		for _, c := range during(b.byTrace[h.TraceID], n.Time.Add(-2*openFor), n.Time) {
			passedOn := slices.ContainsFunc(c.contexts, func(x header.Header) bool { return x.SpanID == h.SpanID })
			if b.mayCall(c, n) && b.plain(c, n) && c.TraceID == "" && !passedOn {
				c.TraceID, c.kernel, n.written = h.TraceID, true, true
				b.seen[c.Name], b.seen[n.Name] = true, true
			}
		}
	}
}

// plain reports whether neither of two services was ever in a trace.
func (b *builder) plain(c, n *node) bool { return !b.instrumented[c.Name] && !b.instrumented[n.Name] }

// stray reports whether a line may be of a request that a service without instrumentation sent,
// with the one header of a trace that the kernel began: nobody else knows the trace.
func (b *builder) stray(from, n *node) bool {
	return b.mayCall(from, n) && b.plain(from, n) &&
		len(n.contexts) == 1 && len(b.byTrace[n.contexts[0].TraceID]) == 1
}

// byKernel corrects what is said of a hop where the kernel took part.
func (h *Hop) byKernel(n *node, seen bool) {
	switch {
	case n.kernel:
		h.Action, h.TraceResponse = Watched, nil
		h.Says = "The kernel, which watches " + n.Name + " from outside (eBPF), continued the trace. " +
			n.Name + " itself neither read the header nor wrote the next one."
	case n.written:
		h.Kernel, h.Action = true, NoAction
		h.Says = "The kernel wrote this header (eBPF): " + h.From + " writes none. " + n.Name +
			" did nothing with it; whether the kernel watches it too, only the trace tells."
	case seen && h.Action == Dropped: // it called nobody, or nobody who logged it
		h.Action = NoAction
		h.Says = n.Name + " did nothing with the trace itself. The kernel took part in other requests of it (eBPF): " +
			"whether it did in this one, only the trace tells."
	}
}
