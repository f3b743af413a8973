package collector

import (
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
)

// demoTrace is a trace like those of the demo: eight spans of three services, with the attributes
// that instrumentation libraries write.
func demoTrace(n uint64) *exportRequest {
	http := attrs("http.request.method", "GET", "url.scheme", "http", "url.path", "/", "server.address", "127.0.0.1",
		"server.port", 8083, "network.peer.address", "127.0.0.1", "network.peer.port", 40000+int(n%1000),
		"network.protocol.version", "1.1", "user_agent.original", "Go-http-client/1.1", "http.response.status_code", 200)
	span := func(id, parent uint64, name string, start, length int) *tracepb.Span {
		s := newSpan(n, n<<8|id, 0, name, int(n)+start, length)
		if parent != 0 {
			s.ParentSpanId = newSpan(n, n<<8|parent, 0, "", 0, 0).SpanId
		}
		s.Attributes = http
		s.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_OK}
		return s
	}
	req := &exportRequest{}
	for i, service := range []string{"gateway", "uservice3", "uservice4"} {
		id := uint64(3*i + 1)
		spans := []*tracepb.Span{
			span(id, id-1, "handle_incoming_call", 10*i, 2000),
			span(id+1, id, "redis_call", 10*i+1, 150),
			span(id+2, id, "other_uservice_call", 10*i+200, 1700),
		}
		req.ResourceSpans = append(req.ResourceSpans, export(attrs("service.name", service, "host.name", "localhost", "os.type", "linux",
			"os.description", "Debian GNU/Linux 12 (bookworm)", "process.pid", 4711, "process.executable.name", service,
			"process.command_args", []any{"/srv/" + service, "-addr", "127.0.0.1:8083"}, "process.runtime.name", "go",
			"process.runtime.version", "go1.26.0", "telemetry.sdk.language", "go", "telemetry.sdk.name", "opentelemetry",
			"telemetry.sdk.version", "1.47.0"), spans[:3-i/2]...).ResourceSpans...)
	}
	return req
}

const demoSpans = 8

// demoBatches are exports of many traces each, as a busy exporter sends them.
func demoBatches(n, traces int) []*exportRequest {
	batches := make([]*exportRequest, n)
	for i := range batches {
		batches[i] = &exportRequest{}
		for j := range traces {
			batches[i].ResourceSpans = append(batches[i].ResourceSpans, demoTrace(uint64(i*traces+j+1)).ResourceSpans...)
		}
	}
	return batches
}
