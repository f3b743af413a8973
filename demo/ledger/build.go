package ledger

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// clockSlack is how far apart two processes on one machine may stamp the same moment.
	clockSlack = 5 * time.Millisecond
	// openFor is how long a request is taken to be open when nothing tells its end: as long as the services' own client
	// waits for an answer.
	openFor = 10 * time.Second
	// maxUntied is how many candidates are listed with one request.
	maxUntied = 8
)

// client is the name of whoever is outside.
const client = "client"

// node is a service's line and where it was put.
type node struct {
	line
	contexts  []Header // valid ones among headers
	claimed   bool     // it is tied to another record
	candidate bool     // it is not, but may belong to one
	callees   []*node
	tie       Tie
	doubtful  bool
	end       time.Time // when its request was over, as far as is known
}

func (n *node) id() string { return "r" + strconv.FormatUint(n.seq, 10) }

// builder makes requests out of records. It works on copies, without the ledger's lock.
type builder struct {
	upstreams map[string]string
	services  map[string]bool
	proxied   []*proxied
	lines     []*node

	starts []start // in order of time

	// keeps has the proxies whose log was seen to have a header of a client: with them, none there is none sent.
	keeps     map[string]bool
	byService map[string][]*node // in order of time
	byContext map[string][]*node // by trace id and span id that arrived
	byArrived map[string][]*node // by trace id that arrived
	byTrace   map[string][]*node // by the trace id that the service worked under
	byValue   map[string][]*node // by the value of a header that is malformed
}

// start is where a request begins: at the proxy, at a service, or at both.
type start struct {
	at    time.Time
	proxy *proxied
	node  *node
}

// build finds out what belongs together. After it nothing is changed any more, so that several goroutines may ask.
func (b *builder) build() {
	b.index()
	served := b.tieToProxy()
	b.tieToCallers()
	for _, p := range b.proxied {
		b.starts = append(b.starts, start{p.Time, p, served[p]})
	}
	// What is a candidate of one request is not shown as a request of its own.
	for _, s := range b.starts {
		b.open(s, func(_ string, n *node) { n.candidate = true })
	}
	for _, n := range b.lines {
		// Without upstreams everything is a candidate of everything, and nothing would be left to be shown.
		if !n.claimed && b.upstreams != nil {
			b.open(start{node: n}, func(_ string, c *node) { c.candidate = true })
		}
	}
	for _, n := range b.lines {
		if !n.claimed && !n.candidate {
			b.starts = append(b.starts, start{n.time, nil, n})
		}
	}
	slices.SortStableFunc(b.starts, func(x, y start) int { return x.at.Compare(y.at) })
}

// open calls f for each candidate of a request, with the name of the one who may have sent it.
func (b *builder) open(s start, f func(from string, candidate *node)) {
	if s.node != nil {
		b.walk(s.node, func(c *node) {
			if len(c.callees) == 0 {
				for _, service := range b.upstreamsOf(c.service) {
					b.candidates(c, service, c.time, c.end, func(n *node) { f(c.service, n) })
				}
			}
		})
	} else if service := b.target(s.proxy); service != "" {
		b.candidates(nil, service, s.proxy.Time, until(s.proxy), func(n *node) { f(s.proxy.Proxy, n) })
	}
}

// walk calls f for a line and for those of the requests that it led to.
func (b *builder) walk(n *node, f func(*node)) {
	f(n)
	for _, c := range n.callees { // later than n, so this comes to an end
		b.walk(c, f)
	}
}

// touches tells whether a request had to do with a trace.
func (b *builder) touches(s start, traceID string) bool {
	if p := s.proxy; p != nil && (p.TraceID == traceID || names(p.arrived, traceID) || names(p.left, traceID) ||
		p.response != nil && p.response.TraceID == traceID) {
		return true
	}
	found := false
	look := func(n *node) { found = found || n.traceID == traceID || names(n.contexts, traceID) }
	if s.node != nil {
		b.walk(s.node, look)
	}
	if !found {
		b.open(s, func(_ string, n *node) { look(n) })
	}
	return found
}

// has tells whether a request has this id, or a line with this id.
func (b *builder) has(s start, id string) bool {
	if s.proxy != nil && s.proxy.id() == id {
		return true
	}
	found := false
	if s.node != nil {
		b.walk(s.node, func(n *node) { found = found || n.id() == id })
	}
	return found
}

func names(headers []Header, traceID string) bool {
	return slices.ContainsFunc(headers, func(h Header) bool { return h.isContext() && h.TraceID == traceID })
}

func (b *builder) index() {
	slices.SortStableFunc(b.lines, func(x, y *node) int { return x.time.Compare(y.time) })
	slices.SortStableFunc(b.proxied, func(x, y *proxied) int { return x.Time.Compare(y.Time) })
	b.byService, b.byContext, b.byArrived = map[string][]*node{}, map[string][]*node{}, map[string][]*node{}
	b.byTrace, b.byValue = map[string][]*node{}, map[string][]*node{}
	b.keeps = map[string]bool{}
	for _, p := range b.proxied {
		if p.arrived != nil {
			b.keeps[p.Proxy] = true
		}
	}
	for _, n := range b.lines {
		n.end = n.ended
		if n.end.IsZero() {
			n.end = n.time.Add(openFor)
		}
		b.byService[n.service] = append(b.byService[n.service], n)
		if n.traceID != "" {
			b.byTrace[n.traceID] = append(b.byTrace[n.traceID], n)
		}
		for _, h := range n.headers {
			switch {
			case !h.isContext():
			case h.Valid:
				n.contexts = append(n.contexts, h)
				b.byContext[h.TraceID+h.SpanID] = append(b.byContext[h.TraceID+h.SpanID], n)
				if ids := b.byArrived[h.TraceID]; len(ids) == 0 || ids[len(ids)-1] != n {
					b.byArrived[h.TraceID] = append(ids, n)
				}
			default:
				b.byValue[h.Name+h.Value] = append(b.byValue[h.Name+h.Value], n)
			}
		}
	}
}

// target is the service to which the proxy sent a request.
func (b *builder) target(p *proxied) string {
	if !p.guessed {
		return p.Service
	}
	if _, known := b.services[p.Service]; known {
		return p.Service
	}
	for caller, callee := range b.upstreams {
		if p.Service == caller || p.Service == callee {
			return p.Service
		}
	}
	return ""
}

// until is when the proxy's request was over.
func until(p *proxied) time.Time {
	if p.Duration > 0 {
		return p.Time.Add(p.Duration)
	}
	return p.Time.Add(openFor)
}

func within(t, since, until time.Time) bool {
	return !t.Before(since.Add(-clockSlack)) && !t.After(until.Add(clockSlack))
}

// tieToProxy finds the line that a service logged of each request that passed the proxy.
func (b *builder) tieToProxy() map[*proxied]*node {
	bySpan := map[string][]*node{}
	for _, n := range b.lines {
		if n.traceID != "" {
			bySpan[n.traceID+n.spanID] = append(bySpan[n.traceID+n.spanID], n)
		}
	}
	// How many of the proxy's requests sent the same malformed value on.
	sameValue := map[string]int{}
	for _, p := range b.proxied {
		for _, h := range p.left {
			if h.isContext() && !h.Valid {
				sameValue[h.Name+h.Value]++
			}
		}
	}
	served := map[*proxied]*node{}
	for _, tie := range []Tie{TieResponse, TieContext, TieValue, TieTrace} { // what is certain first
		for _, p := range b.proxied {
			service := b.target(p)
			if service == "" || served[p] != nil {
				continue
			}
			var found []*node
			take := func(nodes []*node, fits func(*node) bool) {
				for _, n := range nodes {
					if len(found) > 1 {
						return // one too many, and how many does not matter
					}
					if !n.claimed && n.service == service && (fits == nil || fits(n)) && !slices.Contains(found, n) {
						found = append(found, n)
					}
				}
			}
			inTime := func(n *node) bool { return within(n.time, p.Time, until(p)) }
			switch tie {
			case TieResponse:
				if p.response != nil && p.response.Valid {
					take(bySpan[p.response.TraceID+p.response.SpanID], nil)
				}
			case TieContext:
				for _, h := range p.left {
					if h.isContext() && h.Valid {
						take(b.byContext[h.TraceID+h.SpanID], inTime)
					}
				}
			case TieValue:
				for _, h := range p.left {
					if h.isContext() && !h.Valid && sameValue[h.Name+h.Value] == 1 {
						take(b.byValue[h.Name+h.Value], inTime)
					}
				}
				if len(found) != 1 {
					continue
				}
			case TieTrace:
				if p.left == nil && p.TraceID != "" {
					// The proxy passes the Host header on, which tells its requests from those of one service to another.
					take(b.byArrived[p.TraceID], func(n *node) bool {
						return inTime(n) && (p.Host == "" || n.host == "" || hostOnly(n.host) == hostOnly(p.Host))
					})
				}
			}
			if len(found) > 0 {
				doubtful := len(found) > 1
				n := found[0]
				n.claimed, n.tie, n.doubtful = true, tie, doubtful
				if p.Duration > 0 {
					n.end = minTime(n.end, until(p))
				}
				served[p] = n
			}
		}
	}
	return served
}

// tieToCallers finds the service that sent each of the requests that did not come from the proxy.
func (b *builder) tieToCallers() {
	for _, n := range b.lines {
		if n.claimed || n.forwarded {
			continue
		}
		// Services here call once: one that has not yet done so comes first, and of those the one that waits longest.
		var c *node
		callers, seen := 0, ""
		for _, h := range n.contexts {
			if h.TraceID == seen {
				continue // two headers of one trace
			}
			seen = h.TraceID
			all := b.byTrace[h.TraceID]
			i, _ := slices.BinarySearchFunc(all, n.time.Add(-2*openFor), func(c *node, t time.Time) int { return c.time.Compare(t) })
			for _, x := range all[i:] {
				if x.time.After(n.time) || x == n {
					break // in order of time, so that no circle can come about
				}
				if b.calls(x.service, n.service) && within(n.time, x.time, x.end) {
					if callers++; c == nil || len(x.callees) < len(c.callees) {
						c = x
					}
				}
			}
		}
		if c == nil {
			continue
		}
		c.callees = append(c.callees, n)
		n.claimed, n.tie, n.doubtful = true, TieTrace, callers > 1
		n.end = minTime(n.end, c.end)
	}
}

func (b *builder) calls(caller, callee string) bool {
	if b.upstreams == nil {
		return caller != callee
	}
	return b.upstreams[caller] == callee
}

// upstreamsOf returns which services a service may have called.
func (b *builder) upstreamsOf(service string) []string {
	if b.upstreams != nil {
		if callee := b.upstreams[service]; callee != "" {
			return []string{callee}
		}
		return nil
	}
	var others []string
	for other := range b.byService {
		if other != service {
			others = append(others, other)
		}
	}
	slices.Sort(others)
	return others
}

// candidates calls f for the requests that a service received in a span of time, without any context that ties them.
// From is the one who may have sent them; nil for the proxy.
func (b *builder) candidates(from *node, service string, since, until time.Time, f func(*node)) {
	all := b.byService[service]
	i, _ := slices.BinarySearchFunc(all, since.Add(-clockSlack), func(n *node, t time.Time) int { return n.time.Compare(t) })
	for _, n := range all[i:] {
		if !within(n.time, since, until) {
			break
		}
		if n.claimed || n == from || len(n.contexts) > 0 || from != nil && (n.forwarded || n.time.Before(from.time)) {
			continue
		}
		f(n)
	}
}

// request tells one request from what the proxy recorded, or a service, or both.
func (b *builder) request(s start) Request {
	p, n := s.proxy, s.node
	r := Request{Hops: []Hop{}, Untied: []Hop{}, Traces: []string{}}
	if p != nil {
		r.ID = p.id()
		r.Time, r.Status = p.Time, p.Status
		r.Method, r.Host, r.Path, r.Query = p.Method, p.Host, p.Path, p.Query
		r.DurationMS = float64(p.Duration.Microseconds()) / 1000
		r.Hops = append(r.Hops, b.hopToProxy(p))
		if service := b.target(p); service != "" {
			r.Hops = append(r.Hops, b.hopFromProxy(p, n, service))
		}
	} else {
		r.ID, r.Time, r.Status = n.id(), n.time, n.failed
		r.Method, r.Host, r.Path, r.Query = n.method, n.host, n.path, n.query
		hop := b.hop(client, "", n)
		hop.Tie = TieFirst
		if n.forwarded {
			hop.From = "proxy"
			hop.Says += " A proxy sent it, of which there is no record (yet)."
		}
		r.Hops = append(r.Hops, hop)
	}
	severed := "" // an instrumented service whose callee did not get its context
	if n != nil {
		b.walk(n, func(c *node) {
			for _, callee := range c.callees {
				hop := b.hop(c.service, c.traceID, callee)
				if c.answered != 0 && len(c.callees) == 1 {
					hop.Status = c.answered
				}
				r.Hops = append(r.Hops, hop)
			}
			if c.traceID != "" && c.answered != 0 && len(c.callees) == 0 && b.upstreams != nil {
				severed = c.service // it was answered, so somebody received its request
			}
		})
	}
	b.open(s, func(from string, c *node) {
		if r.UntiedTotal++; r.UntiedTotal > maxUntied {
			return
		}
		h := b.hop(from, "", c)
		h.Tie = TieNone
		if h.Action == Started {
			h.Action = NotReceived
		}
		// It may have been sent by somebody else, so nothing is said of what the sender had.
		h.Says += fmt.Sprintf(" It arrived while this request was open, and may have come from %s or from anybody else: it carries nothing that tells.", from)
		r.Untied = append(r.Untied, h)
	})
	if r.UntiedTotal == 0 {
		severed = "" // the log of the one that was called may be missing
	}
	conclude(&r, severed)
	return r
}

// hopToProxy is the hop from the client.
func (b *builder) hopToProxy(p *proxied) Hop {
	h := Hop{
		From: client, To: p.Proxy, Time: p.Time, Tie: TieFirst, Status: p.Status, TraceID: p.TraceID, SpanID: p.SpanID,
		Left: Side{NotKnown, []Header{}}, Arrived: Side{NotKnown, []Header{}},
	}
	if p.response != nil {
		h.TraceResponse = &Response{Inferred, *p.response}
	}
	arrived := p.arrived
	if arrived == nil && p.selective && b.keeps[p.Proxy] {
		arrived = []Header{}
	}
	if arrived == nil {
		h.Action = NoAction
		h.Says = fmt.Sprintf("The log of %s does not tell whether the client sent a context.", p.Proxy)
		if p.TraceID != "" {
			h.Says = fmt.Sprintf("%s started or continued the trace: its log does not tell whether the client sent a context.", p.Proxy)
		}
		return h
	}
	h.Arrived = Side{Recorded, arrived}
	h.Left = Side{Inferred, arrived}
	contexts, bad := split(arrived)
	if p.TraceID == "" && len(p.left) > 0 && len(contexts) > 0 && sameHeaders(arrived, p.left) {
		h.Action, h.Says = Continued, fmt.Sprintf("%s passed the context on as it came, without a span of its own.", p.Proxy)
		return h
	}
	h.Action, h.Says = judge(verdict{who: p.Proxy, traceID: p.TraceID, spanID: p.SpanID, contexts: contexts, bad: bad, outside: true})
	return h
}

// hopFromProxy is the hop from the proxy to a service, whose line may not have been found.
func (b *builder) hopFromProxy(p *proxied, n *node, service string) Hop {
	var h Hop
	if n != nil {
		h = b.hop(p.Proxy, p.TraceID, n)
	} else {
		h = Hop{To: service, Tie: TieRecord, Arrived: Side{NotKnown, []Header{}}, Left: Side{NotKnown, []Header{}}}
		if p.left != nil {
			h.Arrived = Side{Inferred, p.left}
		}
		contexts, bad := split(p.left)
		switch {
		case p.left == nil:
			h.Action = NoAction
			h.Says = fmt.Sprintf("No request that %s logged can be tied to this one, and what left is not recorded.", service)
		case len(contexts)+len(bad) > 0:
			h.Action = NoAction
			h.Says = fmt.Sprintf("%s logged no request that carries this: it was not reached, does not log this path, or its log is missing.", service)
		default:
			h.Action = NotReceived
			h.Says = fmt.Sprintf("%s sent no context, so that none of the requests that %s logged can be tied to this one.", p.Proxy, service)
		}
		if p.response != nil && p.response.Valid {
			h.TraceID, h.SpanID = p.response.TraceID, p.response.SpanID
			if len(contexts)+len(bad) == 0 && p.left != nil {
				h.Says += fmt.Sprintf(" Its answer names a trace that %s started.", service)
			}
		}
	}
	h.From = p.Proxy
	if p.left != nil {
		h.Left = Side{Recorded, p.left}
		if n != nil && !sameHeaders(p.left, n.headers) {
			h.Says += " What arrived is not what left: something in between has changed it."
		}
	}
	if n != nil && p.left != nil && p.TraceID != "" && len(n.contexts) == 0 {
		if contexts, bad := split(p.left); len(contexts)+len(bad) == 0 {
			h.Says += fmt.Sprintf(" %s was in a trace, and sent no header of it.", p.Proxy)
		} else if len(contexts) == 0 {
			h.Says += fmt.Sprintf(" It was %s that sent it so.", p.Proxy)
		}
	}
	if p.response != nil {
		h.TraceResponse = &Response{Recorded, *p.response}
	}
	if h.Status == 0 && p.Status != 0 {
		h.Status = p.Status
	}
	return h
}

// hop is a hop that a service logged. What left is what arrived, unless the caller knows better.
func (b *builder) hop(from, callerTrace string, n *node) Hop {
	h := Hop{
		From: from, To: n.service, Time: n.time, Tie: n.tie, Ambiguous: n.doubtful, TraceID: n.traceID, SpanID: n.spanID,
		Left: Side{Inferred, n.headers}, Arrived: Side{Recorded, n.headers}, Status: n.failed,
	}
	_, bad := split(n.headers)
	h.Action, h.Says = judge(verdict{
		who: n.service, traceID: n.traceID, spanID: n.spanID, contexts: n.contexts, bad: bad,
		instrumented: b.services[n.service], outside: from == client && !n.forwarded, callerTrace: callerTrace,
	})
	if n.doubtful {
		h.Says += " Another request of the same trace may have been the one that it belongs to."
	}
	if n.traceID != "" {
		h.TraceResponse = &Response{Inferred, Header{Name: "traceresponse", Valid: true, TraceID: n.traceID, SpanID: n.spanID}}
	}
	return h
}

// conclude says what became of the trace as a whole.
func conclude(r *Request, severed string) {
	add := func(id string) {
		if id != "" && !slices.Contains(r.Traces, id) {
			r.Traces = append(r.Traces, id)
		}
	}
	addHop := func(h Hop) {
		for _, side := range []Side{h.Left, h.Arrived} {
			for _, header := range side.Headers {
				if header.isContext() {
					add(header.TraceID)
				}
			}
		}
		add(h.TraceID)
	}
	cutAt, endedAt, first, last, unknown := "", "", "", "", false
	for _, h := range r.Hops {
		addHop(h)
		switch h.Action {
		case IgnoredMalformed, IgnoredFormat:
			cutAt = cmp.Or(cutAt, h.To)
		case NotReceived:
			if h.From != client && len(r.Traces) > 0 {
				cutAt = cmp.Or(cutAt, h.To)
			}
		case Dropped:
			endedAt = cmp.Or(endedAt, h.To)
		case NoAction:
			unknown = unknown || h.TraceID == ""
		}
		if h.TraceID != "" {
			first, last = cmp.Or(first, h.To), h.To
		}
	}
	switch {
	case cutAt != "":
		r.Outcome, r.Summary = Cut, fmt.Sprintf("The trace is cut before %s.", cutAt)
	case severed != "":
		r.Outcome, r.Summary = Cut, fmt.Sprintf("The trace is cut after %s: the service that it calls received no request that carries it.", severed)
	case endedAt != "":
		r.Outcome, r.Summary = Ended, fmt.Sprintf("The trace ends at %s, which dropped it.", endedAt)
	case unknown:
		r.Outcome, r.Summary = Unknown, "What became of the trace is not in the records."
	case first == "" && len(r.Traces) == 0:
		r.Outcome, r.Summary = Untraced, "There is no trace of it."
	case first == "":
		r.Outcome, r.Summary = Untraced, "Nobody took part in the trace that arrived."
	case first == last:
		r.Outcome, r.Summary = Whole, fmt.Sprintf("One trace, in %s alone.", first)
	default:
		r.Outcome, r.Summary = Whole, fmt.Sprintf("One trace, from %s to %s.", first, last)
	}
	for _, h := range r.Untied {
		addHop(h)
	}
}

// verdict is what judge needs to know of a receiver.
type verdict struct {
	who             string
	traceID, spanID string   // that it worked under
	contexts, bad   []Header // that arrived, valid or not
	instrumented    bool     // it was seen in a trace, be it in another request
	outside         bool     // it came from the client, of whom no context is expected
	callerTrace     string   // that its caller is known to have been in
}

// judge says what a receiver did with the trace.
func judge(v verdict) (Action, string) {
	if v.traceID == "" {
		switch {
		case len(v.contexts) > 0 && v.instrumented:
			return Dropped, fmt.Sprintf("%s dropped the trace: it is instrumented, but was in no trace this time.", v.who)
		case len(v.contexts) > 0:
			return Dropped, fmt.Sprintf("%s dropped the trace: it is not instrumented, so that it neither reads the header nor sends it on.", v.who)
		case len(v.bad) > 0:
			return Dropped, fmt.Sprintf("%s dropped what arrived: it is not instrumented. No other would have used it: %s.", v.who, problems(v.bad))
		}
		return NotReceived, fmt.Sprintf("%s received no context, and started no trace.", v.who)
	}
	for _, h := range v.contexts {
		if h.TraceID != v.traceID {
			continue
		}
		says := fmt.Sprintf("%s continued the trace, by %s.", v.who, h.Name)
		for _, other := range v.contexts {
			if other.TraceID != v.traceID {
				says += fmt.Sprintf(" It did not follow %s, which names another trace.", other.Name)
			} else if other.Name != h.Name && other.SpanID == h.SpanID {
				says = fmt.Sprintf("%s continued the trace, by %s or %s: both say the same.", v.who, h.Name, other.Name)
			}
		}
		if h.SpanID == v.spanID {
			says += " It made no span of its own."
		}
		if h.Sampled != nil && !*h.Sampled {
			says += " The sampled flag that arrived is 0: who follows it records no spans."
		}
		return Continued, says
	}
	switch {
	case len(v.contexts) > 0:
		return IgnoredFormat, fmt.Sprintf("%s ignored %s and started trace %s: it speaks another format, see its OTEL_PROPAGATORS.",
			v.who, list(v.contexts), v.traceID)
	case len(v.bad) > 0:
		return IgnoredMalformed, fmt.Sprintf("%s ignored what arrived and started trace %s: %s.", v.who, v.traceID, problems(v.bad))
	case v.outside:
		return Started, fmt.Sprintf("%s started the trace: no context arrived.", v.who)
	case v.callerTrace != "":
		return NotReceived, fmt.Sprintf("%s received no context, and started trace %s.", v.who, v.traceID)
	}
	return Started, fmt.Sprintf("%s received no context, and started trace %s.", v.who, v.traceID)
}

func split(headers []Header) (contexts, bad []Header) {
	for _, h := range headers {
		switch {
		case !h.isContext():
		case h.Valid:
			contexts = append(contexts, h)
		default:
			bad = append(bad, h)
		}
	}
	return contexts, bad
}

func problems(bad []Header) string {
	var texts []string
	for _, h := range bad {
		texts = append(texts, h.Name+" is malformed, "+h.Problem)
	}
	return strings.Join(texts, ", and ")
}

func list(headers []Header) string {
	var texts []string
	for _, h := range headers {
		texts = append(texts, h.Name)
	}
	return strings.Join(texts, " and ")
}

// sameHeaders compares what was seen of headers. A log may have joined several values.
func sameHeaders(a, b []Header) bool {
	return slices.EqualFunc(a, b, func(x, y Header) bool {
		return x.Name == y.Name && (x.Value == y.Value || x.Valid && y.Valid && x.TraceID == y.TraceID && x.SpanID == y.SpanID)
	})
}

func hostOnly(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
