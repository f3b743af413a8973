package main

import (
	"context"
	"encoding/json"
	"errors"
	"example.com/grafana-tempo-go-demo/demo/term"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/stack"
	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/demo/waterfall"
)

// traceTimeout is how long the tour waits for a trace to be complete. It takes a quarter of a second when all is well.
const traceTimeout = 15 * time.Second

// ledgerTimeout is how long it waits for the services' log lines, which are there by then when all is well.
const ledgerTimeout = 2 * time.Second

// tourReport is what `demo tour -json` prints, one object on standard output. Times are milliseconds.
type tourReport struct {
	// Plain is the call of uservice1, of which an outsider knows no more than this.
	Plain tourCall `json:"plain"`
	// Instrumented is the call of uservice3.
	Instrumented tourCall `json:"instrumented"`
	// Trace is what the collector received of the second call.
	Trace tourTrace `json:"trace"`
	// Ledger tells of both calls which way the propagation header went, in the shape of GET /api/ledger.
	Ledger tourLedger `json:"ledger"`
}

// tourLedger has the two calls' entries in the hop ledger.
type tourLedger struct {
	Plain        *ledger.Request `json:"plain"`
	Instrumented *ledger.Request `json:"instrumented"`
}

// tourCall is one request through the gateway.
type tourCall struct {
	Service    string  `json:"service"`
	URL        string  `json:"url"` // as a browser would ask, such as http://uservice3.localhost:8000/?fail=redis
	Status     int     `json:"status"`
	DurationMS float64 `json:"duration_ms"`
	// TraceResponse is the answer's traceresponse header, 00-<trace id>-<span id>-<flags>; the plain pair sends none.
	TraceResponse string `json:"traceresponse,omitempty"`
}

// tourTrace is a trace as a flat list, parents before their children.
type tourTrace struct {
	ID         string  `json:"id"`
	DurationMS float64 `json:"duration_ms"`
	// Complete tells that no span was missing when it was read; see tempo.Trace.Complete.
	Complete bool       `json:"complete"`
	Spans    []tourSpan `json:"spans"`
}

type tourSpan struct {
	SpanID        string         `json:"span_id"`
	ParentID      string         `json:"parent_id"` // empty for the root
	Depth         int            `json:"depth"`     // 0 for the root
	Service       string         `json:"service"`
	Name          string         `json:"name"`
	Kind          string         `json:"kind"`     // server, client, internal, ...
	StartMS       float64        `json:"start_ms"` // since the trace's start
	DurationMS    float64        `json:"duration_ms"`
	Status        string         `json:"status"` // ok, error, unset
	StatusMessage string         `json:"status_message,omitempty"`
	Attributes    map[string]any `json:"attributes,omitempty"`
	Events        []tourEvent    `json:"events,omitempty"`
}

type tourEvent struct {
	Name       string         `json:"name"`
	AtMS       float64        `json:"at_ms"` // since the trace's start
	Attributes map[string]any `json:"attributes,omitempty"`
}

// tourConfig is what the flags of `tour` set.
type tourConfig struct {
	json       bool
	fail, slow oneOf
	mocks
}

// tourFlags declares the flags of `tour`; -help and any other table of them come from here.
func tourFlags(c *tourConfig, stderr io.Writer) *flag.FlagSet {
	fs := newFlags("tour", "Starts everything on free ports, calls uservice1 and uservice3 once, draws the trace of the second call,\n"+
		"tells which way the propagation header went, and stops. The drawing is as wide as COLUMNS or the terminal.", stderr)
	c.fail.words = []string{"redis", "database"}
	c.slow.words = []string{"redis", "database"}
	fs.BoolVar(&c.json, "json", false, "print one JSON object instead")
	fs.Var(&c.fail, "fail", "let this `dependency` fail in the call of uservice3: redis or database")
	fs.Var(&c.slow, "slow", "let this `dependency` take two seconds more in the call of uservice3: redis or database")
	c.mocks.register(fs)
	return fs
}

// runTour does the whole story once. What it starts is gone when it returns.
func runTour(soft, hard context.Context, args []string, stdout, stderr io.Writer) (err error) {
	var c tourConfig
	fs := tourFlags(&c, stderr)
	if err := parse(fs, args, stdout); err != nil {
		return err
	}
	env, err := c.env(fs)
	if err != nil {
		return err
	}
	var logs tail
	s, err := stack.Start(soft, stack.Options{
		Addrs:    stack.AnyAddrs(),
		Page:     page,
		Env:      env,
		Logs:     &logs,
		Messages: stderr,
	})
	if err == nil {
		var report *tourReport
		var trace *tempo.Trace
		report, trace, err = visit(soft, s, c)
		err = errors.Join(err, s.Stop(hard))
		if err == nil {
			if c.json {
				return json.NewEncoder(stdout).Encode(report)
			}
			return tell(stdout, report, trace)
		}
	}
	if cause := context.Cause(soft); cause == nil {
		logs.dump(stderr)
	}
	return err
}

// visit makes the two calls and fetches the trace of the second.
func visit(ctx context.Context, s *stack.Stack, c tourConfig) (*tourReport, *tempo.Trace, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case d := <-s.Deaths():
			cancel(fmt.Errorf("%s ended by itself: %s", d.Part, d.How))
		case <-ctx.Done():
		}
	}()
	query := url.Values{}
	if c.fail.value != "" {
		query.Set("fail", c.fail.value)
	}
	if c.slow.value != "" {
		query.Set("slow", c.slow.value)
	}
	var r tourReport
	var err error
	if r.Plain, err = call(ctx, s.URLs().Gateway, "uservice1", nil); err != nil {
		return nil, nil, err
	}
	if r.Instrumented, err = call(ctx, s.URLs().Gateway, "uservice3", query); err != nil {
		return nil, nil, err
	}
	for _, done := range []tourCall{r.Plain, r.Instrumented} {
		asked := done.Service == "uservice3" && c.fail.value != ""
		if done.Status != http.StatusOK && !asked {
			return nil, nil, fmt.Errorf("%s answered %d", done.URL, done.Status)
		}
	}
	id, err := traceID(r.Instrumented.TraceResponse)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", r.Instrumented.URL, err)
	}
	client := &tempo.Client{URL: s.URLs().Tempo, HTTP: localClient}
	trace, whole, err := fetch(ctx, client, id, traceTimeout)
	if err != nil {
		return nil, nil, err
	}
	r.Trace = flatten(trace)
	r.Trace.Complete = whole
	r.Ledger = readHops(ctx, s.Ledger(), c.fail.value)
	return &r, trace, nil
}

// readHops returns what the ledger has of the two calls, as soon as all that is expected is there: the services' lines
// come through pipes. What has not come after a while is told as missing.
func readHops(ctx context.Context, l *ledger.Ledger, fail string) (found tourLedger) {
	ctx, cancel := context.WithTimeout(ctx, ledgerTimeout)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	hops := 3 // client to gateway to uservice3 to uservice4
	if fail == "redis" {
		hops = 2
	}
	for {
		for _, r := range l.Recent(10) {
			switch {
			case len(r.Hops) < 2: // it did not pass the gateway, or not yet
			case r.Hops[1].To == "uservice1":
				found.Plain = &r
			case r.Hops[1].To == "uservice3":
				found.Instrumented = &r
			}
		}
		if found.Plain != nil && found.Plain.Outcome == ledger.Ended && len(found.Plain.Untied) > 0 &&
			found.Instrumented != nil && len(found.Instrumented.Hops) >= hops {
			return found
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return found
		}
	}
}

// localClient asks parts on this machine, whatever HTTP_PROXY says.
var localClient = &http.Client{Transport: &http.Transport{}, Timeout: 30 * time.Second}

// call asks a service for its page, through the gateway. Go's resolver does not know names under localhost, so the
// gateway's address is dialled and the name given as Host.
func call(ctx context.Context, gateway, service string, query url.Values) (tourCall, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, gateway+"/", nil)
	if err != nil {
		return tourCall{}, fmt.Errorf("call %s: %w", service, err)
	}
	req.URL.RawQuery = query.Encode()
	req.Host = service + ".localhost:" + req.URL.Port()
	shown := *req.URL
	shown.Host = req.Host
	start := time.Now()
	res, err := localClient.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return tourCall{}, fmt.Errorf("call %s: %w", service, err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return tourCall{}, fmt.Errorf("call %s: %w", service, err)
	}
	return tourCall{
		Service:       service,
		URL:           shown.String(),
		Status:        res.StatusCode,
		DurationMS:    ms(time.Since(start)),
		TraceResponse: res.Header.Get("traceresponse"),
	}, nil
}

// traceID takes the trace id out of a traceresponse header, 00-<32 hex>-<16 hex>-<2 hex>:
// https://www.w3.org/TR/trace-context-2/#traceresponse-header
func traceID(header string) (string, error) {
	parts := strings.Split(header, "-")
	if len(parts) != 4 || len(parts[1]) != 32 || strings.Trim(parts[1], "0123456789abcdef") != "" {
		return "", fmt.Errorf("the answer has no usable traceresponse header: %q", header)
	}
	return parts[1], nil
}

// fetch waits until a trace is complete and returns it. When the time is over it returns what there is, whole being
// false; nothing at all is an error.
func fetch(ctx context.Context, client *tempo.Client, id string, limit time.Duration) (trace *tempo.Trace, whole bool, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("trace %s did not arrive within %s", id, limit))
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		t, err := client.Trace(ctx, id)
		switch {
		case err == nil:
			if trace = t; t.Complete() {
				return t, true, nil
			}
		case errors.Is(err, tempo.ErrNotFound), ctx.Err() != nil:
		default:
			return nil, false, fmt.Errorf("fetch trace %s: %w", id, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if trace != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return trace, false, nil
			}
			return nil, false, context.Cause(ctx)
		}
	}
}

// flatten turns a trace into the report's form.
func flatten(t *tempo.Trace) tourTrace {
	out := tourTrace{ID: t.ID, Spans: []tourSpan{}}
	if len(t.Spans) == 0 {
		return out
	}
	start, end := t.Spans[0].Start, t.Spans[0].End
	for _, s := range t.Spans {
		if s.Start.Before(start) {
			start = s.Start
		}
		if s.End.After(end) {
			end = s.End
		}
	}
	out.DurationMS = ms(end.Sub(start))
	depth := map[string]int{}
	for _, s := range t.Spans { // parents come before their children
		if d, ok := depth[s.ParentID]; ok {
			depth[s.SpanID] = d + 1
		} else {
			depth[s.SpanID] = 0
		}
		span := tourSpan{
			SpanID: s.SpanID, ParentID: s.ParentID, Depth: depth[s.SpanID],
			Service: s.Service, Name: s.Name, Kind: s.Kind,
			StartMS: ms(s.Start.Sub(start)), DurationMS: ms(s.End.Sub(s.Start)),
			Status: s.Status, StatusMessage: s.StatusMessage, Attributes: s.Attributes,
		}
		for _, e := range s.Events {
			span.Events = append(span.Events, tourEvent{Name: e.Name, AtMS: ms(e.Time.Sub(start)), Attributes: e.Attributes})
		}
		out.Spans = append(out.Spans, span)
	}
	return out
}

// tell prints the story.
func tell(w io.Writer, r *tourReport, t *tempo.Trace) error {
	var b strings.Builder
	answer := func(c tourCall) {
		fmt.Fprintf(&b, "   GET %s\n   -> %d %s after %s\n", c.URL, c.Status, http.StatusText(c.Status),
			waterfall.Duration(time.Duration(c.DurationMS*float64(time.Millisecond))))
	}
	b.WriteString("\n1. uservice1, which is not instrumented\n\n")
	answer(r.Plain)
	b.WriteString("   That is all an outsider can know: it answered, and how long it took.\n")
	b.WriteString("\n2. uservice3, the same program with a few lines more\n\n")
	answer(r.Instrumented)
	fmt.Fprintf(&b, "   traceresponse: %s\n   This header of the answer names its trace.\n", waterfall.Clean(r.Instrumented.TraceResponse))
	b.WriteString("\n3. The trace, as the collector received it\n\n")
	err := waterfall.Render(&b, t, waterfall.Options{
		Width: term.Width(w),
		ASCII: term.ASCIIOnly(os.Getenv),
		Color: term.Colours(w),
	})
	if err != nil {
		return fmt.Errorf("draw the trace: %w", err)
	}
	if !r.Trace.Complete {
		fmt.Fprintf(&b, "\n   It is not complete: spans were still missing after %s.\n", traceTimeout)
	}
	if s, self := busiest(t); s != nil {
		fmt.Fprintf(&b, "\n   Now it can be said where the time went: %s of it in %s of %s.\n",
			waterfall.Duration(self), waterfall.Clean(s.Name), waterfall.Clean(s.Service))
	}
	b.WriteString("\n4. Which way the header went, hop by hop\n")
	tellHops(&b, "uservice1", r.Ledger.Plain)
	tellHops(&b, "uservice3", r.Ledger.Instrumented)
	b.WriteString(`
What next:
   go run ./demo tour -fail database    see an error travel up
   go run ./demo tour -slow redis       see which one is slow
   go run ./demo                        keep it running, and look around in the browser
   go run ./demo up -break drop-header  the same with broken telemetry; docs/lab.md asks why
   diff -u uservice1/handlers.go uservice3/handlers.go
                                        the lines that make the difference
`)
	_, err = io.WriteString(w, b.String())
	return err
}

// tellHops prints a request's hops, one a line.
func tellHops(b *strings.Builder, service string, r *ledger.Request) {
	fmt.Fprintf(b, "\n   the call of %s\n", service)
	if r == nil {
		b.WriteString("      is not in the ledger\n")
		return
	}
	hop := func(from string, h ledger.Hop, verdict string) {
		carried := "no propagation header"
		if headers := h.Arrived.Headers; len(headers) > 0 {
			carried = headers[0].Name + " " + longID.ReplaceAllString(headers[0].Value, "$1..")
		}
		line := fmt.Sprintf("      %-10s-> %-10s %-42s %s", from, h.To, carried, verdict)
		b.WriteString(waterfall.Clean(line) + "\n")
	}
	for _, h := range r.Hops {
		hop(h.From, h, string(h.Action))
	}
	for _, h := range r.Untied {
		hop("?", h, "cannot be tied to it")
	}
	b.WriteString("      " + waterfall.Clean(r.Summary) + "\n")
}

// longID finds ids, of which the beginning is enough to see that two are the same.
var longID = regexp.MustCompile(`\b([0-9a-f]{8})[0-9a-f]{8,}\b`)

// busiest returns the span with the most time of its own, that is, not spent in the spans under it.
func busiest(t *tempo.Trace) (found *tempo.Span, self time.Duration) {
	for _, s := range t.Spans {
		own := s.End.Sub(s.Start)
		for _, c := range s.Children {
			own -= c.End.Sub(c.Start)
		}
		if own > self {
			found, self = s, own
		}
	}
	return found, self
}

// ms is a duration in milliseconds, to the microsecond.
func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// tail keeps the last lines that were written, for when something goes wrong.
type tail struct {
	mu    sync.Mutex
	lines []string
}

// maxTail is how many lines a tail keeps.
const maxTail = 200

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, string(p))
	if len(t.lines) > 2*maxTail {
		t.lines = slices.Clone(t.lines[len(t.lines)-maxTail:])
	}
	return len(p), nil
}

// dump writes what was kept.
func (t *tail) dump(w io.Writer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := t.lines[max(0, len(t.lines)-maxTail):]
	if len(lines) == 0 {
		return
	}
	fmt.Fprintln(w, "the last lines of what was started:")
	for _, line := range lines {
		_, _ = io.WriteString(w, line)
	}
}
