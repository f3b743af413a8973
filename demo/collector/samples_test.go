package collector

import (
	"slices"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
)

const (
	wholeTrace = "000000000000000000000000005b8eff" // two batches, three services
	bareTrace  = "4bf92f3577b34da6a3ce929d0e0e4736" // no resource, no scope
)

// samples are exports with every kind of field, around base, which is in Unix nanoseconds. They are what
// the collector was compared to Tempo with.
func samples(base uint64) []*exportRequest {
	get, served := newSpan(0x5b8eff, 1, 0, "GET", 0, 1500), newSpan(0x5b8eff, 2, 1, "handle_incoming_call", 2, 1480)
	redis, database := newSpan(0x5b8eff, 3, 2, "redis_call", 5, 120), newSpan(0x5b8eff, 4, 2, "database_call", 140, 1200)
	short, orphan := newSpan(0xa1b2c3d4e5f60718, 1, 0, "short", -5000, 7), newSpan(0xab, 1, 9, "orphan", -9000, 0)
	bare := newSpan(1, 1, 0, "no resource", -12000, 2500)
	bare.TraceId = fromHex(bareTrace)

	get.Kind, redis.Kind, database.Kind = tracepb.Span_SPAN_KIND_SERVER, tracepb.Span_SPAN_KIND_CLIENT, tracepb.Span_SPAN_KIND_CLIENT
	served.Attributes = attrs("text", "<a href=\"x\">&\u2028é\x01\\</a>", "double", 1.5, "big", 9007199254740993, "no", false,
		"empty", "", "mixed", []any{"a", 1})
	served.Events = []*tracepb.Span_Event{{TimeUnixNano: base, Name: "Request decoded!", Attributes: attrs("happened", true)}}
	redis.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_OK}
	database.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR, Message: "boom"}
	database.Links = []*tracepb.Span_Link{{TraceId: bare.TraceId, SpanId: bare.SpanId, Attributes: attrs("l", 1)}}
	database.TraceState, database.DroppedAttributesCount = "a=b", 2

	called := export(attrs("service.name", "uservice4"), database)
	called.ResourceSpans[0].ScopeSpans[0].Scope = &commonpb.InstrumentationScope{Name: "example.com/u4", Version: "v2", Attributes: attrs("a", "1")}
	for _, s := range []*tracepb.Span{get, served, redis, database, short, orphan, bare} {
		s.StartTimeUnixNano += base
		s.EndTimeUnixNano += base
	}
	return []*exportRequest{
		{ResourceSpans: slices.Concat(export(attrs("service.name", "gateway", "host.name", "h"), get).ResourceSpans,
			export(attrs("service.name", "uservice3", "process.pid", 4711), served, redis).ResourceSpans)},
		called,
		export(attrs("service.name", "uservice1"), short),
		export(attrs("service.name", "orphan svc"), orphan),
		{ResourceSpans: []*tracepb.ResourceSpans{{ScopeSpans: []*tracepb.ScopeSpans{{Spans: []*tracepb.Span{bare}}}}}},
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
	"/api/search?q=%7Bresource.service.name=%22gateway%22%7D%26%26%7Bstatus=error%7Dwith(most_recent=true)",
	"/api/search?limit=0",
	"/api/search?limit=-1",
	"/api/search?start=5",
	"/api/search?end=5",
	"/api/search?q=%7B%7D&start=1000000000&end=1000003600",
}
