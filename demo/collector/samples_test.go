package collector

import (
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
)

const (
	wholeTrace  = "5b8efff798038103d269b633813fc60c" // two batches, three services
	shortTrace  = "0000000000000000a1b2c3d4e5f60718" // a 64-bit id
	orphanTrace = "00ab00000000000000000000000000ff" // its root never came
	bareTrace   = "4bf92f3577b34da6a3ce929d0e0e4736" // no resource, no scope
	emptyTrace  = "11111111111111111111111111111111" // takes no time
)

// samples are exports with every kind of field, around base, which is in Unix
// nanoseconds. They are what the collector was compared to Tempo with.
func samples(base uint64) []*exportRequest {
	const ms = 1_000_000
	mk := func(trace, id, parent, name string, kind int32, start, length int64) *tracepb.Span {
		return &tracepb.Span{
			TraceId: fromHex(trace), SpanId: fromHex(id), ParentSpanId: fromHex(parent),
			Name: name, Kind: tracepb.Span_SpanKind(kind),
			StartTimeUnixNano: base + uint64(start), EndTimeUnixNano: base + uint64(start+length),
		}
	}
	with := func(s *tracepb.Span, change func(*tracepb.Span)) *tracepb.Span {
		change(s)
		return s
	}
	from := func(res []*commonpb.KeyValue, sc *commonpb.InstrumentationScope, spans ...*tracepb.Span) *tracepb.ResourceSpans {
		return &tracepb.ResourceSpans{
			Resource:   &resourcepb.Resource{Attributes: res},
			ScopeSpans: []*tracepb.ScopeSpans{{Scope: sc, Spans: spans}},
		}
	}
	ok := &tracepb.Status{Code: tracepb.Status_STATUS_CODE_OK}
	return []*exportRequest{
		{ResourceSpans: []*tracepb.ResourceSpans{
			from(attrs("service.name", "gateway", "host.name", "h"),
				&commonpb.InstrumentationScope{Name: "gw", Version: "1"},
				mk(wholeTrace, "00f067aa0ba90201", "", "GET", 2, 0, 1500*ms),
				mk(wholeTrace, "00f067aa0ba90202", "00f067aa0ba90201", "ReverseProxy", 3, 1*ms, 1490*ms)),
			from(attrs("service.name", "uservice3", "process.pid", 4711, "process.command_args", []any{"/x", "-addr"}),
				&commonpb.InstrumentationScope{Name: "example.com/u3"},
				with(mk(wholeTrace, "00f067aa0ba90203", "00f067aa0ba90202", "handle_incoming_call", 2, 2*ms, 1480*ms), func(s *tracepb.Span) {
					s.Attributes = attrs("http.request.method", "GET", "url.path", "/")
					s.Status = ok
					s.Events = []*tracepb.Span_Event{{TimeUnixNano: base + 3*ms, Name: "Request decoded!", Attributes: attrs("happened", true)}}
				}),
				with(mk(wholeTrace, "00f067aa0ba90204", "00f067aa0ba90203", "redis_call", 3, 5*ms, 120*ms), func(s *tracepb.Span) {
					s.Attributes = attrs("db.system.name", "redis", "test-attribute-1", "test-values-1",
						"double", 1.5, "whole double", 2.0, "tiny", 1e-9, "big", 9007199254740993, "negative", -3, "no", false,
						"bytes", []byte{0, 1, 2, 255}, "map", attrs("a", "b", "c", 1), "nothing", nil, "empty string", "",
						"mixed", []any{"a", 1}, "empty array", []any{}, "ints", []any{1, 2},
						"html", "<a href=\"x\">&\u2028é\x01\\</a>")
					s.Status = ok
				})),
		}},
		{ResourceSpans: []*tracepb.ResourceSpans{
			from(attrs("service.name", "uservice4"),
				&commonpb.InstrumentationScope{Name: "example.com/u4", Version: "v2", Attributes: attrs("scope attribute", "1")},
				with(mk(wholeTrace, "00f067aa0ba90205", "00f067aa0ba90203", "handle_incoming_call", 2, 130*ms, 1300*ms), func(s *tracepb.Span) {
					s.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR, Message: "boom"}
				}),
				with(mk(wholeTrace, "00f067aa0ba90206", "00f067aa0ba90205", "database_call", 3, 140*ms, 1200*ms), func(s *tracepb.Span) {
					s.Attributes = attrs("db.system.name", "postgresql")
					s.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR}
					s.Events = []*tracepb.Span_Event{{TimeUnixNano: base + 200*ms, Name: "exception", Attributes: attrs("exception.message", "no")}}
					s.Links = []*tracepb.Span_Link{{TraceId: fromHex(bareTrace), SpanId: fromHex("00f067aa0ba90299"), Attributes: attrs("l", 1)}}
					s.TraceState = "a=b"
					s.DroppedAttributesCount = 2
				})),
		}},
		{ResourceSpans: []*tracepb.ResourceSpans{from(attrs("service.name", "uservice1"), nil,
			with(mk(shortTrace, "00000000000000aa", "", "short", 1, -5000*ms, 7*ms), func(s *tracepb.Span) {
				s.Attributes = attrs("http.status_code", 200, "http.method", "GET", "error", true)
			}))}},
		{ResourceSpans: []*tracepb.ResourceSpans{from(attrs("service.name", "orphan svc"),
			&commonpb.InstrumentationScope{Name: "s"},
			with(mk(orphanTrace, "00000000000000bb", "00000000000000cc", "first", 5, -9000*ms, 300_000), func(s *tracepb.Span) {
				s.Attributes = attrs("error", "true", "status", "error")
				s.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR}
			}),
			mk(orphanTrace, "00000000000000bc", "00000000000000cc", "second", 4, -9000*ms+5, 300_000))}},
		{ResourceSpans: []*tracepb.ResourceSpans{{ScopeSpans: []*tracepb.ScopeSpans{{
			Spans: []*tracepb.Span{mk(bareTrace, "00000000000000dd", "", "no resource", 0, -12000*ms, 2500*ms)},
		}}}}},
		{ResourceSpans: []*tracepb.ResourceSpans{from(nil, nil,
			mk(emptyTrace, "00000000000000ee", "", "no time", 1, -15000*ms, 0))}},
	}
}

// sampleRequests are answered alike by Tempo 3.0.3 and by the collector.
var sampleRequests = []string{
	"/ready",
	"/nothing",
	"/api/v2/traces/" + wholeTrace,
	"/api/v2/traces/A1b2c3d4e5f60718",
	"/api/v2/traces/" + bareTrace,
	"/api/v2/traces/deadbeefdeadbeefdeadbeefdeadbeef",
	"/api/search?q=%7B%7D",
	"/api/search?q=%7B%7D&limit=1",
	"/api/search?q=%7Bresource.service.name=%22gateway%22%7D%26%26%7Bstatus=error%7Dwith(most_recent=true)",
	"/api/search?limit=0",
	"/api/search?limit=-1",
	"/api/search?start=5",
	"/api/search?end=5",
	"/api/search?q=%7B%7D&start=1000000000&end=1000003600",
}
