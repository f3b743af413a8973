package story

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/grafana-tempo-go-demo/demo/header"
	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/tempo"
)

// carried is a header with the id of the nth span.
func carried(traceID string, n, flag int) header.Headers {
	return header.Headers{header.UberTraceID: fmt.Sprintf("%s:%s:0:%d", traceID, spanID(n), flag)}
}

func both(traceID string, n int) header.Headers {
	h := carried(traceID, n, 1)
	h[header.TraceParent] = "00-" + traceID + "-" + spanID(n) + "-01"
	return h
}

// passed is what the gateway records of a request for uservice3 or 1, in the trace with the given id.
func passed(service string, left header.Headers, response string) func(*ledger.Ledger) {
	return func(l *ledger.Ledger) {
		l.AddProxy(ledger.Record{Time: epoch, Duration: time.Second, Name: "gateway", Service: service, TraceID: id, SpanID: spanID(1),
			Arrived: header.Headers{}, Left: left, Status: 200, TraceResponse: response})
	}
}

// logs is the line of a service that worked under the nth span of a trace, or under none.
func logs(service string, arrived header.Headers, traceID string, n int) func(*ledger.Ledger) {
	return func(l *ledger.Ledger) {
		at := epoch.Add(time.Duration(n) * time.Millisecond).Format(time.RFC3339Nano)
		headers := ""
		for name, value := range arrived {
			headers += fmt.Sprintf(`,%q:%q`, name, value)
		}
		l.AddLine(service, fmt.Appendf(nil, `{"time":%q,"msg":"request","headers":{%s},"trace_id":%q,"span_id":%q}`,
			at, strings.TrimPrefix(headers, ","), traceID, spanID(n)))
	}
}

// drawn writes a request as the page draws it: links in brackets, and what its header says.
func drawn(r Request) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", r.Kind, r.Headline)
	for _, h := range r.Hops {
		fmt.Fprintf(&b, "%s > %s: ", h.From, h.To)
		for _, piece := range append(h.Says, Segment{}) {
			if piece.Span != "" {
				piece.Text = "[" + piece.Text + "]"
			}
			b.WriteString(piece.Text)
		}
		for _, x := range h.Arrived {
			fmt.Fprintf(&b, " | %s%s", x.Facts, x.Problem)
			if x.Another != "" {
				b.WriteString(" of another trace")
			}
		}
		if h.Back != nil {
			b.WriteString(" | " + h.Back.Note + " came back")
		}
		if h.BackOf != nil {
			b.WriteString(" from [" + h.BackOf.Text + "]")
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestHops(t *testing.T) {
	const (
		gateway    = "client > gateway: gateway started a trace: no trace id arrived.\n"
		toService3 = "gateway > uservice3: uber-trace-id carries the span id of [ReverseProxy of gateway]. "
		continued3 = toService3 + "uservice3 continued the trace: its span's parent is the one named in uber-trace-id. | Flags 1, sampled"
		toService4 = "uservice3 > uservice4: uber-trace-id carries the span id of [other_uservice_call of uservice3]. "
		continued4 = "uservice4 continued the trace: its span's parent is the one named in uber-trace-id. | Flags 1, sampled"
		wanted     = "want trace:span:parent:flags, lower-case hexadecimal, with ids of up to 32 and 16 digits that are not all 0"
		dropped    = "uservice1 dropped the trace: without instrumentation, a service neither reads the header nor sends it on. " +
			"So nothing ties what uservice1 calls to this request. | Flags 1, sampled\n"
	)
	response := func(traceID string, n int) string { return "00-" + traceID + "-" + spanID(n) + "-01" }
	healthy := []func(*ledger.Ledger){passed("uservice3", carried(id, 2, 1), response(id, 3)),
		logs("uservice3", carried(id, 2, 1), id, 3), logs("uservice4", carried(id, 5, 1), id, 6)}
	back := " |  came back from [handle_incoming_call of uservice3]\n"
	for _, tc := range []struct {
		name    string
		records []func(*ledger.Ledger)
		spans   []*tempo.Span
		want    string
	}{
		{"the trace is whole, and an event has what uservice4 answered", healthy, join(proxied("uservice3", 200), inside(), call(answered, answeredFrom(id)), behind()),
			"good: It is one trace.\n" + gateway + continued3 + back + toService4 + continued4 +
				` | from the event "Got response!" came back from [handle_incoming_call of uservice4]` + "\n"},
		{"a span is missing", healthy, join(proxied("uservice3", 200), inside()), "good: It is one trace.\n" + gateway + continued3 + back +
			"uservice3 > uservice4: uber-trace-id carries the id of a span of uservice3 that is not in the trace store. " + continued4 + "\n"},
		{"nothing of it is here, because it is not sampled", []func(*ledger.Ledger){passed("uservice3", carried(id, 2, 0), ""), logs("uservice3", carried(id, 2, 0), id, 3)}, nil,
			"warn: It is one trace. Where its header is not sampled, services that obey the flag record no span.\n" + gateway +
				"gateway > uservice3: uber-trace-id carries the id of a span of gateway that was not recorded. " +
				"uservice3 continued the trace in uber-trace-id, which is not sampled. | Flags 0, not sampled\n"},
		{"uservice3 does not read the format", []func(*ledger.Ledger){passed("uservice3", carried(id, 2, 1), response(other, 3)), logs("uservice3", carried(id, 2, 1), other, 3)},
			proxied("uservice3", 200), "bad: The trace is cut before uservice3.\n" + gateway + toService3 + "uservice3 ignored uber-trace-id and started trace " + other +
				": it reads another format; see its OTEL_PROPAGATORS. | Flags 1, sampled |  came back\n"},
		{"of a trace that was cut, this is the other half", []func(*ledger.Ledger){passed("uservice3", carried(third, 2, 1), response(id, 3)), logs("uservice3", carried(third, 2, 1), id, 3)},
			join(inside()), "bad: The trace is cut before uservice3.\n" + gateway + "gateway > uservice3: uber-trace-id carries the id of a span of gateway, in [another trace]. " +
				"uservice3 ignored uber-trace-id and started trace " + id + ": it reads another format; see its OTEL_PROPAGATORS. " +
				"| Flags 1, sampled of another trace |  came back from [handle_incoming_call of uservice3]\n"},
		{"uservice1 drops the header", []func(*ledger.Ledger){passed("uservice1", carried(id, 2, 1), ""), logs("uservice1", carried(id, 2, 1), "", 3)}, proxied("uservice1", 200),
			"warn: The trace ends at uservice1, which dropped it.\n" + gateway + "gateway > uservice1: uber-trace-id carries the span id of [ReverseProxy of gateway]. " + dropped},
		{"the kernel watches uservice1", []func(*ledger.Ledger){passed("uservice1", carried(id, 2, 1), ""), logs("uservice1", carried(id, 2, 1), "", 3)},
			join(proxied("uservice1", 200), outside(span(3, 2, "server", "uservice1", "GET /", 0, 1000))),
			"warn: The trace ends at uservice1, which dropped it. The kernel, which watches uservice1 from outside (eBPF), went on in it.\n" + gateway +
				"gateway > uservice1: uber-trace-id carries the span id of [ReverseProxy of gateway]. " + dropped},
		{"the kernel wrote the header, and its span says for whom", []func(*ledger.Ledger){logs("uservice2", carried(id, 5, 1), "", 6)},
			outside(span(5, 0, "client", "uservice1", "GET", 0, 1000)), "warn: The trace ends at uservice2, which dropped it.\n" +
				"uservice1 > uservice2: uber-trace-id carries the span id of [GET of uservice1]. " +
				"uservice2 dropped the trace: without instrumentation, a service neither reads the header nor sends it on. | Flags 1, sampled\n"},
		{"a foreign service sent it, and uservice4 called another", []func(*ledger.Ledger){logs("uservice4", both(id, 2), id, 3)},
			one(span(1, 0, "server", "shop", "GET /cart", 0, 1000), span(2, 1, "client", "orders", "GET", 0, 1000),
				span(3, 2, "server", "uservice4", "handle_incoming_call", 0, 1000), span(4, 3, "server", "warehouse", "count", 100, 900)),
			"good: It is one trace.\norders > uservice4: uber-trace-id and traceparent carry the span id of [GET of orders]. " +
				"uservice4 continued the trace: its span's parent is the one named in uber-trace-id. | Flags 1, sampled | Flags 01, sampled\n"},
		{"a service without spans passes on what it got", []func(*ledger.Ledger){passed("uservice3", carried(id, 2, 1), ""), logs("uservice3", carried(id, 2, 1), id, 2),
			logs("uservice4", carried(id, 2, 1), id, 6)}, proxied("uservice3", 200), "good: It is one trace.\n" + gateway + toService3 +
			"uservice3 continued the trace in uber-trace-id, and made no span of its own. | Flags 1, sampled\n" +
			"uservice3 > uservice4: uber-trace-id carries the span id of [ReverseProxy of gateway], passed on by uservice3. " + continued4 + "\n"},
		{"uservice3 logged nothing", []func(*ledger.Ledger){passed("uservice3", carried(id, 2, 1), "")}, proxied("uservice3", 502),
			": The records do not say what became of the trace.\n" + gateway + toService3 + "uservice3 logged no request that only this one can be: " +
				"it was not reached, does not log this path, its log is missing, or several requests carry the same header.\n"},
		{"the header is no context", []func(*ledger.Ledger){logs("uservice3", header.Headers{header.UberTraceID: "x:1:0:1"}, id, 3)}, inside(),
			"bad: The trace is cut before uservice3.\nclient > uservice3: uservice3 ignored what arrived and started trace " + id +
				". uber-trace-id is malformed: " + wanted + ". | Not valid: " + wanted + "\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := ledger.New(10)
			for _, add := range tc.records {
				add(l)
			}
			requests, _, err := l.Trace(id, 10)
			if err != nil || len(requests) != 1 {
				t.Fatalf("%d requests, %v", len(requests), err)
			}
			var trace *Trace
			if tc.spans != nil {
				trace = tell(tc.spans, requests, 0)
			}
			if got := drawn(Hops(requests, id, trace)[0]); got != tc.want {
				t.Errorf("got\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
}
