package ledger

import "slices"

// A service that is not instrumented writes no propagation header. Where it is watched by eBPF, the
// kernel writes one into the request that leaves, and that is how the ledger knows.

// watched finds the services on whose behalf the kernel handed a trace on: what they called received
// the trace that had arrived at them, with another span.
func (b *builder) watched() {
	for _, n := range b.lines {
		if n.forwarded || b.services[n.name] {
			continue
		}
		for _, h := range n.contexts {
			for _, c := range after(b.by[key{"trace arrived", h.TraceID, ""}], n.time.Add(-2*openFor)) {
				passedOn := slices.ContainsFunc(c.contexts, func(x Header) bool { return x.SpanID == h.SpanID })
				if !b.mayCall(c, n) || c.traceID != "" || passedOn {
					continue
				}
				c.traceID, c.kernel, n.written = h.TraceID, true, true
				b.seen[c.name], b.seen[n.name] = true, true
				k := key{"trace", h.TraceID, ""}
				b.by[k] = append(b.by[k], c)
				slices.SortStableFunc(b.by[k], byTime)
			}
		}
	}
}

// mayCall reports whether a service that is not instrumented may have sent what another received.
func (b *builder) mayCall(c, n *node) bool {
	return !b.services[c.name] && b.upstreams[c.name] == n.name && !n.time.Before(c.time) && within(n.time, c.time, c.end)
}

// stray reports whether a line may be of a request that a service without instrumentation sent, with
// a header of a trace that the kernel began: nobody else knows the trace.
func (b *builder) stray(from, n *node) bool {
	return b.mayCall(from, n) && !b.services[n.name] && !slices.ContainsFunc(n.contexts, func(h Header) bool {
		return len(b.by[key{"trace arrived", h.TraceID, ""}]) > 1 || len(b.by[key{"trace", h.TraceID, ""}]) > 0 ||
			slices.ContainsFunc(b.proxied, func(p *node) bool { return p.traceID == h.TraceID })
	})
}

// byKernel corrects what is said of a hop where the kernel took part.
func (h *Hop) byKernel(n *node, seen bool) {
	switch {
	case n.kernel:
		h.Action, h.TraceResponse = Watched, nil
		h.Says = "The kernel, which watches " + n.name + " from outside (eBPF), continued the trace. " +
			n.name + " itself neither read the header nor wrote the next one."
	case n.written:
		h.Kernel, h.Action = true, NoAction
		h.Says = "The kernel wrote this header (eBPF): " + h.From + " writes none. " + n.name +
			" did nothing with it; whether the kernel watches it too, only the trace tells."
	case seen && h.Action == Dropped: // it called nobody, or nobody who logged it
		h.Action = NoAction
		h.Says = n.name + " did nothing with the trace itself. The kernel took part in other requests of it (eBPF): " +
			"whether it did in this one, only the trace tells."
	}
}
