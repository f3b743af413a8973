package story

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/grafana-tempo-go-demo/demo/header"
	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/tempo"
)

const (
	id    = "0af7651916cd43dd8448eb211c80319c"
	other = "1bf7651916cd43dd8448eb211c80319c"
	third = "2cf7651916cd43dd8448eb211c80319c"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

type attributes map[string]any

// spanID is the id of the nth span; empty for 0.
func spanID(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%016x", n)
}

// span makes a span by its times in milliseconds since the trace began.
func span(n, parent int, kind, service, name string, from, to float64, more ...any) *tempo.Span {
	at := func(ms float64) time.Time { return epoch.Add(time.Duration(ms * float64(time.Millisecond))) }
	s := &tempo.Span{SpanID: spanID(n), ParentID: spanID(parent), Kind: kind, Service: service, Name: name,
		Start: at(from), End: at(to), Status: "unset", Attributes: map[string]any{}}
	for _, m := range more {
		switch m := m.(type) {
		case attributes:
			for k, v := range m {
				s.Attributes[k] = v
			}
		case error:
			s.Status, s.StatusMessage = "error", m.Error()
		case tempo.Event:
			s.Events = append(s.Events, m)
		}
	}
	return s
}

type failure string // an error of a span

func (f failure) Error() string { return string(f) }

var (
	answered = attributes{"http.request.method": "GET", "http.response.status_code": int64(200)}
	asked    = attributes{"http.request.method": "GET"}
)

func answeredFrom(traceID string) tempo.Event {
	return tempo.Event{Name: "Got response!", Attributes: map[string]any{"traceresponse": "00-" + traceID + "-" + spanID(6) + "-01"}}
}

func join(groups ...[]*tempo.Span) []*tempo.Span { return slices.Concat(groups...) }

func one(spans ...*tempo.Span) []*tempo.Span { return spans }

// proxied makes the gateway's two spans, numbers 1 and 2, of a request that took a second.
func proxied(service string, status int64, more ...any) []*tempo.Span {
	code := attributes{"http.response.status_code": status}
	return one(
		span(1, 0, "server", "gateway", "GET", 0, 1000, append([]any{code, attributes{"server.address": service + ".localhost",
			"http.request.method": "GET", "url.path": "/", "url.query": ""}}, more...)...),
		span(2, 1, "client", "gateway", "ReverseProxy", 0, 1000, append([]any{code}, more...)...))
}

// refusing is proxied with an answer that only a client calls an error.
func refusing(service string, status int64) []*tempo.Span {
	spans := proxied(service, status)
	spans[1].Status = "error"
	return spans
}

// inside makes the spans 3 and 4 of uservice3; number 5, its call, is left to the test.
func inside(more ...any) []*tempo.Span {
	return one(span(3, 2, "server", "uservice3", "handle_incoming_call", 0, 1000, more...),
		span(4, 3, "client", "uservice3", "redis_call", 0, 100))
}

func call(more ...any) []*tempo.Span {
	return one(span(5, 3, "client", "uservice3", "other_uservice_call", 100, 1000, more...))
}

func behind(more ...any) []*tempo.Span {
	return one(span(6, 5, "server", "uservice4", "handle_incoming_call", 100, 1000, more...),
		span(7, 6, "client", "uservice4", "database_call", 100, 1000, more...))
}

func whole() []*tempo.Span {
	return join(proxied("uservice3", 200), inside(), call(answered), behind())
}

// outside makes spans such as the kernel sees them.
func outside(spans ...*tempo.Span) []*tempo.Span {
	for _, s := range spans {
		s.Resource = map[string]any{"telemetry.distro.name": tempo.OutsideDistro}
	}
	return spans
}

func hop(from, to string, action ledger.Action, traceID string, headers ...header.Header) ledger.Hop {
	return ledger.Hop{From: from, To: to, Action: action, TraceID: traceID, Left: headers, Arrived: headers}
}

func request(outcome ledger.Outcome, hops ...ledger.Hop) []ledger.Request {
	r := ledger.Request{Outcome: outcome, Hops: hops}
	for _, h := range hops {
		if outcome == ledger.Cut && !slices.Contains(r.Traces, h.TraceID) {
			r.Traces = append(r.Traces, h.TraceID)
		}
	}
	return []ledger.Request{r}
}

func carries(traceID string, sampled bool) header.Header {
	return header.Header{Name: "uber-trace-id", TraceID: traceID, SpanID: spanID(1), Sampled: &sampled}
}

const (
	long = 40 * time.Second // after the trace's end: nothing more comes

	exporter  = "its exporter does not reach the trace store, or its process ended before it sent them."
	onTheWay  = "its spans are still on their way"
	elsewhere = "it did not receive the propagation header and is in another trace"
)

// TestNotes has what the page and the tour say of traces, all of it, in order. A name before a colon
// is the kind of a note.
func TestNotes(t *testing.T) {
	cut3 := request(ledger.Cut, hop("client", "gateway", ledger.Started, other), hop("gateway", "uservice3", ledger.IgnoredFormat, id),
		hop("uservice3", "uservice4", ledger.IgnoredFormat, third))
	const atEachCut = " At each cut, a service received no propagation header that it could read, and started a trace of its own. "
	for _, tc := range []struct {
		name     string
		spans    []*tempo.Span
		requests []ledger.Request
		age      time.Duration // 0 for long
		want     []string
	}{
		{"a whole trace says where the time went", whole(), nil, 0,
			[]string{"good: 90 % of the time went into database_call of uservice4: 900 ms."}},
		{"a plain service that calls another", proxied("uservice1", 200), nil, 0, []string{"mystery: 1.00 s unexplained, 100 % of the total. " +
			"uservice1 is not instrumented: it sends no spans and passes no propagation header on. The trace ends at ReverseProxy of gateway. " +
			"Nobody outside can tell whether Redis, uservice2 or its database took the time, or failed."}},
		{"a plain service that calls none", proxied("uservice2", 200), nil, 0, []string{"mystery: 1.00 s unexplained, 100 % of the total. " +
			"uservice2 is not instrumented: it sends no spans and passes no propagation header on. The trace ends at ReverseProxy of gateway. " +
			"Nobody outside can tell what happened inside it."}},
		{"the gateway reached no plain service", proxied("uservice1", 502, failure("")),
			request(ledger.Unknown, hop("gateway", "uservice1", ledger.NoAction, "")), 0, []string{"mystery: 1.00 s unexplained, 100 % of the total. " +
				"uservice1 is not instrumented: it sends no spans and passes no propagation header on. The trace ends at ReverseProxy of gateway. " +
				"Nothing says whether the call reached it."}},
		{"the gateway reached nobody", proxied("uservice3", 502, failure("")),
			request(ledger.Unknown, hop("gateway", "uservice3", ledger.NoAction, "")), 0, []string{
				"mystery: 1.00 s unexplained, 100 % of the total. uservice3 is instrumented, yet no span of it is here. " +
					"Perhaps the call did not reach it and gateway answered 502 itself, " + elsewhere + ", " + exporter,
				"bad: ReverseProxy of gateway failed. No span here says where the error began."}},
		{"the request was wrong", join(refusing("uservice3", 400), inside()), nil, 0,
			[]string{"warn: uservice3 answered 400: the request was wrong. ReverseProxy of gateway is marked as failed because of that."}},
		{"the caller hung up", join(refusing("uservice3", 499), inside()), nil, 0, []string{"bad: The error began in ReverseProxy of gateway."}},
		{"an error with its message", join(proxied("uservice3", 502, failure("")), inside(failure("")), call(answered, failure("")), behind(failure("no disk"))),
			nil, 0, []string{"bad: The error began in database_call of uservice4: “no disk”."}},
		{"the error began in a call that nobody answered", join(proxied("uservice3", 502, failure("")), inside(failure("")), call(asked, failure("refused"))),
			nil, 0, []string{"mystery: 900 ms unexplained, 90 % of the total. uservice4 is instrumented, yet no span of it is here. " +
				"Perhaps the call did not reach it, it is still at work, " + elsewhere + ", " + exporter,
				"bad: The error began in other_uservice_call of uservice3: “refused”."}},
		{"an answered call whose callee is missing is no origin", join(proxied("uservice3", 502, failure("")), inside(failure("")), call(answered, failure("502"))),
			nil, 0, []string{"mystery: 900 ms unexplained, 90 % of the total. uservice4 is instrumented, yet no span of it is here. " +
				"Perhaps " + elsewhere + ", " + exporter,
				"bad: other_uservice_call of uservice3 failed. No span here says where the error began."}},
		{"the old name of the method counts as a call", one(span(1, 0, "server", "shop", "GET", 0, 1000),
			span(2, 1, "client", "shop", "call", 200, 1000, attributes{"http.method": "GET", "peer.service": "stock"})), nil, 0,
			[]string{"mystery: 800 ms unexplained, 80 % of the total. stock was called, and no span of it is here. Perhaps it is not instrumented, " +
				"the call did not reach it, it is still at work, " + elsewhere + ", " + exporter}},
		{"a foreign service called nobody knows whom, just now", one(span(1, 0, "client", "shop", "call", 0, 900, answered)), nil, time.Second,
			[]string{"mystery: 900 ms unexplained, 100 % of the total. The other side answered a call, and no span of it is here. Perhaps " + onTheWay +
				", it is not instrumented, " + elsewhere + ", " + exporter}},
		{"the ledger has the callee in the trace", join(inside(), call(answered)),
			request(ledger.Whole, hop("uservice3", "uservice4", ledger.Continued, id)), 0,
			[]string{"mystery: 900 ms unexplained, 90 % of the total. uservice4 is instrumented, yet no span of it is here. It took part in this trace. " +
				"Perhaps " + exporter}},
		{"and the header says not sampled", join(inside(), call(answered)),
			request(ledger.Whole, hop("uservice3", "uservice4", ledger.Continued, id, carries(id, false))), 0,
			[]string{"mystery: 900 ms unexplained, 90 % of the total. uservice4 is instrumented, yet no span of it is here. It took part in this trace. " +
				"Perhaps it did not record them, because the header says that the trace is not sampled, " + exporter}},
		{"its own answer says that it took part", join(inside(), call(answered, answeredFrom(id))), nil, 0,
			[]string{"mystery: 900 ms unexplained, 90 % of the total. uservice4 is instrumented, yet no span of it is here. It took part in this trace. " +
				"Perhaps " + exporter}},
		{"the answer names another trace", join(inside(), call(answered, answeredFrom(other))), nil, 0,
			[]string{"mystery: 900 ms unexplained, 90 % of the total. uservice4 answered from another trace: no propagation header that it could read reached it, " +
				"so it started its own. Open it>" + other}},
		{"a cut in two leads to the other half", proxied("uservice3", 200),
			request(ledger.Cut, hop("client", "gateway", ledger.Started, id), hop("gateway", "uservice3", ledger.NotReceived, other)), 0,
			[]string{"mystery: 1.00 s unexplained, 100 % of the total. uservice3 answered from another trace: no propagation header that it could read reached it, " +
				"so it started its own. Open the other half>" + other}},
		{"a whole half is not praised", join(inside(), call(answered), behind()), // it has its own root
			request(ledger.Cut, hop("client", "gateway", ledger.Started, other), hop("gateway", "uservice3", ledger.NotReceived, id)), 0,
			[]string{"bad: This is one part of a request that was cut in two." + atEachCut + "Open the other half>" + other,
				": 90 % of the time went into database_call of uservice4: 900 ms."}},
		{"the middle of three", join(inside(), call(answered)), cut3, 0,
			[]string{"mystery: 900 ms unexplained, 90 % of the total. uservice4 answered from another trace: no propagation header that it could read reached it, " +
				"so it started its own. Open part 3 of 3>" + third,
				"bad: This is one part of a request that was cut in three." + atEachCut + "Open part 1 of 3>" + other}},
		{"a part that only an answer names is counted", join(inside(), call(answered, answeredFrom(third))),
			request(ledger.Cut, hop("client", "gateway", ledger.Started, other), hop("gateway", "uservice3", ledger.NotReceived, id)), 0,
			[]string{"mystery: 900 ms unexplained, 90 % of the total. uservice4 answered from another trace: no propagation header that it could read reached it, " +
				"so it started its own. Open part 3 of 3>" + third,
				"bad: This is one part of a request that was cut in three." + atEachCut + "Open part 1 of 3>" + other}},
		{"seen from outside", join(proxied("uservice1", 200), outside(span(3, 2, "server", "uservice1", "GET /", 0, 1000), span(4, 3, "internal", "uservice1", "processing", 0, 1000),
			span(5, 4, "client", "uservice1", "GET", 200, 1000, answered), span(6, 5, "server", "uservice2", "GET /", 200, 1000))), nil, 0,
			[]string{": Seen from outside, 800 ms in uservice2 and 200 ms in uservice1. The kernel saw requests come and go (eBPF). What happened inside is " +
				"unexplained: whether Redis, a database or the service's own code took the time, only the service could say."}},
		{"a clock is ahead", one(span(1, 0, "server", "front", "GET", 0, 1000), span(2, 1, "client", "front", "call", 0, 1000),
			span(3, 2, "server", "back", "serve", 5000, 5200)), nil, 0, []string{"mystery: 4.00 s unexplained, 77 % of the total. No span covers this time: clocks may disagree, or somebody waited."}},
		{"Zipkin's two spans with one id", one(span(1, 0, "server", "shop", "GET /", 0, 900), span(2, 1, "client", "shop", "get /stock", 100, 800, answered),
			span(2, 1, "server", "stock", "get /stock", 200, 700)), nil, 0, []string{"good: 56 % of the time went into get /stock of stock: 500 ms."}},
		{"parents in a circle", one(span(1, 2, "internal", "cycle", "first", 0, 5), span(2, 1, "internal", "cycle", "second", 0, 4)), nil, 0,
			[]string{"warn: first of cycle is below itself: the parents of some spans here go round in a circle, so which came first is not known.",
				": 80 % of the time went into second of cycle: 4.00 ms."}},
		{"a single span says nothing", one(span(1, 0, "server", "shop", "", 0, 1000)), nil, 0, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			told := tell(tc.spans, tc.requests, max(tc.age, 0))
			var got []string
			for _, n := range told.Notes {
				text := n.Kind + ": " + n.String()
				for _, piece := range n.Text {
					if piece.Trace != "" && piece.Span == "" {
						text = strings.Replace(text, piece.Text, piece.Text+">"+piece.Trace, 1)
					}
					if piece.Span != "" && (piece.Trace != id || told.Find(piece.Span) == nil) {
						t.Errorf("%q leads to %s of %s", piece.Text, piece.Span, piece.Trace)
					}
				}
				got = append(got, text)
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tc.want, "\n"))
			}
		})
	}
}

// tell explains spans, some time after the last of them; 0 for long after.
func tell(spans []*tempo.Span, requests []ledger.Request, age time.Duration) *Trace {
	tr := tempo.NewTrace(id, spans)
	_, end := tr.Bounds()
	if age == 0 {
		age = long
	}
	return Tell(tr, Options{Requests: requests, Now: end.Add(age)})
}

func TestPartialTraceSaysSo(t *testing.T) {
	tr := tempo.NewTrace(id, whole())
	tr.Partial = "too large"
	if got := Tell(tr, Options{}).Notes[0]; got.Kind != "warn" || got.String() != "too large" {
		t.Errorf("got %v", got)
	}
}

// TestEachMomentCountsOnce has the rows by service, which add up to the duration.
func TestEachMomentCountsOnce(t *testing.T) {
	for _, tc := range []struct {
		name  string
		spans []*tempo.Span
		want  string
		by    string // the span below which the unexplained time stands
	}{
		{"a whole trace", whole(), "uservice4 900 ms 90 %, uservice3 100 ms 10 %, gateway 0 ms 0.0 %", ""},
		{"the exporter of the service in the middle is dead", join(proxied("uservice3", 200), one(span(6, 5, "server", "uservice4", "handle_incoming_call", 100, 900),
			span(7, 6, "client", "uservice4", "database_call", 100, 900))), "uservice4 800 ms 80 %, unexplained 200 ms 20 %, gateway 0 ms 0.0 %", "ReverseProxy"},
		{"a plain service", proxied("uservice1", 200), "unexplained 1.00 s 100 %, gateway 0 ms 0.0 %", "ReverseProxy"},
		{"a call that nobody answered", one(span(3, 0, "server", "uservice3", "handle_incoming_call", 0, 1000),
			span(5, 3, "client", "uservice3", "other_uservice_call", 200, 1000, asked)), "unexplained 800 ms 80 %, uservice3 200 ms 20 %", "other_uservice_call"},
		{"one span of the way is lost", join(proxied("uservice3", 200), one(span(3, 2, "server", "uservice3", "handle_incoming_call", 0, 1000),
			span(6, 5, "server", "uservice4", "handle_incoming_call", 100, 900))), "uservice4 800 ms 80 %, uservice3 200 ms 20 %, gateway 0 ms 0.0 %", ""},
		{"two calls side by side, and nobody for a while", one(span(1, 0, "server", "a", "start", 0, 600), span(2, 1, "internal", "b", "one", 0, 600),
			span(3, 1, "internal", "c", "two", 0, 600), span(4, 1, "consumer", "c", "later", 800, 1000)),
			"c 500 ms 50 %, b 300 ms 30 %, unexplained 200 ms 20 %, a 0 ms 0.0 %", ""},
		{"only the kernel, and not all the way", join(proxied("uservice1", 200), outside(span(3, 2, "server", "uservice1", "GET /", 0, 1000),
			span(5, 3, "client", "uservice1", "GET", 200, 1000, answered))), "unexplained 800 ms 80 %, uservice1 200 ms 20 %, gateway 0 ms 0.0 %", "GET"},
		{"a gap of less than a thousandth", one(span(1, 0, "server", "a", "x", 0, 1000), span(2, 0, "server", "a", "y", 1000.5, 2000)), "a 1.99 s 100 %", ""},
		{"no time at all", one(span(1, 0, "server", "a", "x", 0, 0)), "a 0 ms 0.0 %", ""},
		{"a span that ends before it starts", one(span(1, 0, "server", "a", "x", 0, 1000), span(2, 1, "internal", "b", "y", 500, 400)), "a 1.00 s 100 %, b 0 ms 0.0 %", ""},
		{"nobody's name", one(span(1, 0, "server", "", "x", 0, 1000)), "unknown service 1.00 s 100 %", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			told := tell(tc.spans, nil, 0)
			var got []string
			for _, rows := range [][]Row{told.BySpan, told.ByService} {
				var sum Time
				got = nil
				for _, r := range rows {
					if r.Dark {
						continue
					}
					sum += r.Time
					name := r.Service
					if name == "" {
						name = r.Name
					}
					got = append(got, fmt.Sprintf("%s %s %s", name, r.Time, r.Percent))
				}
				if off := sum - told.Duration; off < -told.Duration/1000-2 || off > 2 {
					t.Errorf("the rows add up to %s of %s", sum, told.Duration)
				}
			}
			if got := strings.Join(got, ", "); got != tc.want {
				t.Errorf("got\n%s\nwant\n%s", got, tc.want)
			}
			by := ""
			if told.Dark != nil && told.Dark.Span >= 0 {
				by = told.Spans[told.Dark.Span].Name
			}
			if by != tc.by {
				t.Errorf("the mystery is below %q, want %q", by, tc.by)
			}
		})
	}
}

func TestTitles(t *testing.T) {
	for _, tc := range []struct {
		name, want string // title, subtitle, missing
		spans      []*tempo.Span
	}{
		{"behind a gateway, who was called", "uservice1 | GET / | uservice1", proxied("uservice1", 200)},
		{"a host with a port, in the old attribute", "uservice3 | traefik · GET | uservice3", one(span(1, 0, "server", "traefik", "GET", 0, 1, attributes{"http.host": "Uservice3.localhost:80"}),
			span(2, 1, "client", "traefik", "ReverseProxy", 0, 1, answered))},
		{"a host of nobody's", "gateway | GET / | ", proxied("cart.example", 200)},
		{"a foreign service", "shop | GET /cart | ", one(span(1, 0, "server", "shop", "GET /cart", 0, 1))},
		{"a root without a name", "shop | (no name) | ", one(span(1, 0, "server", "shop", "", 0, 1))},
		{"a root of nobody", "unknown service | GET | ", one(span(1, 0, "server", "", "GET", 0, 1))},
		{"a root that nobody sent", "shop | Its first span has not arrived | ", one(span(2, 1, "server", "shop", "GET", 0, 1))},
		{"a missing parent, and a root that began later", "shop | GET | ", one(span(2, 9, "server", "cart", "GET", 0, 1), span(1, 0, "server", "shop", "GET", 1, 2))},
	} {
		t.Run(tc.name, func(t *testing.T) {
			told := tell(tc.spans, nil, 0)
			missing := ""
			if told.Dark != nil {
				missing = told.Dark.Missing
			}
			if got := strings.Join([]string{told.Title, told.Subtitle, missing}, " | "); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestSettled(t *testing.T) {
	for _, tc := range []struct {
		name  string
		spans []*tempo.Span
		age   time.Duration
		want  bool
	}{
		{"whole, a moment ago", whole(), time.Second, false},
		{"whole, a while ago", whole(), 3 * time.Second, true},
		{"a plain service's, a while ago", proxied("uservice1", 200), 3 * time.Second, true},
		{"somebody is missing, a while ago", join(inside(), call(answered)), 3 * time.Second, false},
		{"a parent is missing, a while ago", one(span(2, 1, "server", "shop", "GET", 0, 1)), 3 * time.Second, false},
		{"somebody is missing, long ago", join(inside(), call(answered)), 21 * time.Second, true},
	} {
		if got := tell(tc.spans, nil, tc.age).Settled; got != tc.want {
			t.Errorf("%s: settled is %v", tc.name, got)
		}
	}
}

func TestMissing(t *testing.T) {
	brought := request(ledger.Unknown, hop("client", "gateway", ledger.IgnoredFormat, other, carries(id, true)))
	known := request(ledger.Whole, hop("client", "gateway", ledger.Started, id, carries(id, true)))
	off := request(ledger.Whole, hop("client", "gateway", ledger.Started, id, carries(id, false)))
	for _, tc := range []struct {
		name      string
		kept      bool
		requests  []ledger.Request
		unsampled bool
		waited    time.Duration
		want      string
		settled   bool
	}{
		{"at first, nothing", true, nil, false, time.Second, "", false},
		{"then it waits", true, known, false, 9 * time.Second, "Looking for this trace: Spans are sent a moment after the answer.", false},
		{"nobody knows it", true, nil, false, 11 * time.Second, "This trace is not here: Neither the trace store nor the hop ledger has this id: it is mistyped, or older than what they keep.", true},
		{"nobody keeps a ledger", false, nil, false, 21 * time.Second, "This trace is not here: It was not sampled, a collector in front of the trace store did not keep it, its spans do not reach the store, or it is older than what the store keeps.", true},
		{"the ledger knows it", true, known, false, 21 * time.Second, "This trace is not here: The hop ledger has the request, but none of its spans is here: their exporters do not reach the trace store, or the store no longer keeps them.", true},
		{"nobody went on with it", true, brought, false, 11 * time.Second, "This trace is not here: A request brought this id, and nobody here went on in its trace: the hop ledger says why.", true},
		{"not sampled, as the ledger says", true, off, false, 0, "This call was not sampled: The flag in its header is 0. A service that obeys it records no span, so probably none will come.", false},
		{"not sampled, as its answer said", false, nil, true, 21 * time.Second, "This call was not sampled: The flag in its header is 0. A service that obeys it records no span, so probably none will come. " + SampledMeans, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := Missing(id, tc.kept, tc.requests, tc.unsampled, tc.waited)
			got := strings.TrimSuffix(a.Title+": "+strings.TrimSuffix(strings.Join(a.Texts, " "), " "+id), ": ")
			if got != tc.want || a.Settled != tc.settled || a.Title != "" && a.Texts[len(a.Texts)-1] != id {
				t.Errorf("got %q, settled %v", got, a.Settled)
			}
		})
	}
}

func TestComparesLikeWithLike(t *testing.T) {
	told := func(ago time.Duration, spans []*tempo.Span, requests []ledger.Request) *Trace {
		tr := tempo.NewTrace(id, spans)
		for _, s := range tr.Spans {
			s.Start, s.End = s.Start.Add(-ago), s.End.Add(-ago)
		}
		return Tell(tr, Options{Requests: requests})
	}
	with := func(attribute string, value any) []*tempo.Span {
		spans := whole()
		spans[0].Attributes[attribute] = value
		return spans
	}
	unnamed := whole()
	for _, s := range unnamed[2:5] {
		s.Service = "unknown_service:uservice3"
	}
	asked := func(query string) []ledger.Request {
		return []ledger.Request{{Query: query, Hops: []ledger.Hop{{TraceID: id}}}}
	}
	plain := told(0, proxied("uservice1", 200), nil)
	for _, tc := range []struct {
		name  string
		other *Trace
		want  bool
	}{
		{"the same request", told(time.Second, whole(), nil), true},
		{"of a service without a service.name", told(time.Second, unnamed, nil), true},
		{"another status", told(time.Second, with("http.response.status_code", int64(502)), nil), false},
		{"another path", told(time.Second, with("url.path", "/elsewhere"), nil), false},
		{"another query", told(time.Second, with("url.query", "a=b"), nil), false},
		{"a query that the gateway hides", told(time.Second, with("url.query", "a=REDACTED"), nil), false},
		{"one that the ledger has", told(time.Second, with("url.query", "a=REDACTED"), asked("")), true},
		{"two minutes ago", told(2*time.Minute, whole(), nil), false},
		{"with a hole", told(time.Second, join(proxied("uservice3", 200), inside(), call(answered)), nil), false},
		{"another service", told(time.Second, with("server.address", "uservice4.localhost"), nil), false},
		{"a part without its gateway", told(time.Second, join(inside(), call(answered), behind()), nil), false},
	} {
		if got := tc.other.Explains(plain); got != tc.want {
			t.Errorf("%s: compared is %v", tc.name, got)
		}
	}
	const same = "uservice3 is the same program, instrumented. "
	hidden := proxied("uservice1", 200)
	hidden[0].Attributes["url.query"] = "slow=REDACTED"
	for _, tc := range []struct {
		of, with *Trace
		want     string
	}{
		{plain, told(-time.Second, whole(), nil), "A request like it, instrumented: uservice3: They began 1.00 s apart, both answered 200, and are drawn on one time scale."},
		{plain, nil, "Compare with uservice3: " + same + "A trace of it within a minute of this one, complete, with the same query and status, is drawn here. None was found. Call it now to see what happens inside."},
		{told(0, hidden, nil), nil, "Compare with uservice3: " + same + "The gateway hides the query of this request, so no trace can be compared with it. Call it now to see what happens inside."},
	} {
		if twin := tc.of.Beside(tc.with); twin.Title+": "+twin.Text != tc.want {
			t.Errorf("got %s: %s", twin.Title, twin.Text)
		}
	}
	for name, tc := range map[string]struct {
		spans []*tempo.Span
		want  bool
	}{
		"a whole trace":                {whole(), false},
		"a plain service":              {proxied("uservice2", 200), true},
		"a plain service from outside": {join(proxied("uservice1", 200), outside(span(3, 2, "server", "uservice1", "GET /", 0, 1000))), true},
		"somebody else is missing":     {proxied("uservice3", 200), false},
	} {
		if got := told(0, tc.spans, nil).Plain != nil; got != tc.want {
			t.Errorf("%s: a twin would tell more is %v", name, got)
		}
	}
}

func TestTimes(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 ms", 1: "1 ns", 999: "999 ns", 217 * time.Microsecond: "217 µs", 12340 * time.Nanosecond: "12.3 µs", 1999 * time.Nanosecond: "1.99 µs",
		12700 * time.Microsecond: "12.7 ms", 999999 * time.Microsecond: "999 ms", time.Second: "1.00 s", 1556700 * time.Microsecond: "1.55 s",
		1855400 * time.Microsecond: "1.85 s", 1859900 * time.Microsecond: "1.85 s", 4350 * time.Millisecond: "4.35 s", 59999 * time.Millisecond: "59.9 s",
		60 * time.Second: "1m0s", 3725 * time.Second: "1h2m5s", -5 * time.Second: "-5.00 s", math.MinInt64: "-2562047h47m16s",
	} {
		if got := Time(d).String(); got != want {
			t.Errorf("%d is %q, want %q", d, got, want)
		}
	}
	for part, want := range map[Time]string{0: "0.0 %", 5: "<0.1 %", 50: "0.5 %", 994: "9.9 %", 995: "10 %", 10000: "100 %"} {
		if got := Percent(part, 10000); got != want {
			t.Errorf("%d of 10000 is %q, want %q", part, got, want)
		}
	}
}

// TestSpans has the JSON of a span as the page gets it.
func TestSpans(t *testing.T) {
	spans := join(proxied("uservice3", 200), inside(), call(answered, answeredFrom(id)), behind())
	spans[2].Attributes = map[string]any{"i": int64(9007199254740993), "b": false, "n": nil, "m": map[string]any{"k": []any{"v"}}, "y": []byte{1}}
	spans[2].Scope = "otelhttp 1"
	spans[2].Events = []tempo.Event{{Name: "exception", Time: epoch.Add(10 * time.Millisecond)}}
	told := tell(spans, nil, 0)
	var got map[string]any
	text, err := json.Marshal(told)
	if err == nil {
		err = json.Unmarshal(text, &got)
	}
	if err != nil {
		t.Fatal(err)
	}
	at := func(path string) string {
		v := got["spans"]
		for _, key := range strings.Split(path, "/") {
			switch parent := v.(type) {
			case map[string]any:
				v = parent[key]
			case []any:
				var i int
				_, _ = fmt.Sscan(key, &i)
				v = parent[i]
			}
		}
		text, _ := json.Marshal(v)
		return string(text)
	}
	for path, want := range map[string]string{
		"2/attributes/0": `{"key":"b","type":"bool","value":"false"}`, "2/attributes/1": `{"key":"i","type":"int","value":"9007199254740993"}`,
		"2/attributes/2": `{"key":"m","type":"map","value":"{\"k\":[\"v\"]}"}`, "2/attributes/4": `{"key":"y","type":"bytes, base64","value":"AQ=="}`,
		"2/depth": "2", "2/parent": "1", "2/below": "4", "2/by_header": "true", "2/scope": `"otelhttp 1"`, "2/events/0/bad": "true", "1/callee": "2",
		"2/events/0/after": `{"ms":10,"text":"10.0 ms"}`, "4/start": `{"ms":100,"text":"100 ms"}`, "3/self": `[[0,100]]`, "2/self_time": `{"ms":0,"text":"0 ms"}`,
		"0/resource": "0",
	} {
		if at(path) != want {
			t.Errorf("%s is %s, want %s", path, at(path), want)
		}
	}
}

func TestSpansThatTellMore(t *testing.T) {
	for want, s := range map[string]*tempo.Span{
		"This span ends before it starts: the clock was set back, or the times are wrong.": span(1, 0, "server", "a", "x", 1, 0),
		"no disk": span(1, 0, "server", "a", "x", 0, 1, failure("no disk")),
	} {
		notes := tell(one(s), nil, 0).Spans[0].Notes
		if len(notes) != 1 || notes[0].String() != want {
			t.Errorf("got %v, want %q", notes, want)
		}
	}
}

// TestManySpans has traces in which a recursion or a search per span would be noticed.
func TestManySpans(t *testing.T) {
	const n = 10_000
	for name, parent := range map[string]func(i int) int{
		"a chain": func(i int) int { return i - 1 }, "one parent": func(i int) int { return min(1, i-1) },
		"a circle": func(i int) int { return (i+n-2)%n + 1 }, "orphans": func(i int) int { return n + i },
	} {
		spans := make([]*tempo.Span, 0, n)
		for i := 1; i <= n; i++ {
			spans = append(spans, span(i, parent(i), "internal", "a", "level", float64(i), float64(3*n-i)))
		}
		told := tell(spans, nil, 0)
		if len(told.Spans) != n || name == "a chain" && (told.Spans[n-1].Depth != n-1 || told.Spans[0].Below != n-1) {
			t.Errorf("%s: %d spans", name, len(told.Spans))
		}
	}
}

func TestComplete(t *testing.T) {
	root, proxy := span(1, 0, "server", "gateway", "GET", 0, 9), span(2, 1, "client", "gateway", "ReverseProxy", 0, 9, answered)
	server, out := span(3, 2, "server", "uservice3", "handle", 0, 9), span(5, 3, "client", "uservice3", "call", 0, 9, answered)
	redis, refused := span(4, 3, "client", "uservice3", "redis_call", 0, 9), span(5, 3, "client", "uservice3", "call", 0, 9, asked)
	for _, tc := range []struct {
		name  string
		spans []*tempo.Span
		want  bool
	}{
		{"a parent is missing", one(root, server), false},
		{"the server of an answered call is missing", one(root, proxy, server, redis, out), false},
		{"a call that was refused has no server, and a database has none either", one(root, proxy, server, redis, refused), true},
		{"all there", one(root, proxy, server, out, span(6, 5, "server", "uservice4", "handle", 0, 9)), true},
	} {
		if got := Tell(tempo.NewTrace(id, tc.spans), Options{}).Complete(); got != tc.want {
			t.Errorf("%s: got %v", tc.name, got)
		}
	}
}
