package collector

import (
	"fmt"
	"net/http/httptest"
	"testing"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
)

// demoTrace is a trace like those of the demo: eight spans of three services,
// with the attributes that instrumentation libraries write.
func demoTrace(n uint64) *exportRequest {
	http := attrs("http.request.method", "GET", "url.scheme", "http", "url.path", "/", "server.address", "127.0.0.1",
		"server.port", 8083, "network.peer.address", "127.0.0.1", "network.peer.port", 40000+int(n%1000),
		"network.protocol.version", "1.1", "user_agent.original", "Go-http-client/1.1", "http.response.status_code", 200)
	res := func(service string) *exportRequest {
		return export(attrs("service.name", service, "host.name", "localhost", "os.type", "linux",
			"os.description", "Debian GNU/Linux 12 (bookworm)", "process.pid", 4711, "process.executable.name", service,
			"process.command_args", []any{"/srv/" + service, "-addr", "127.0.0.1:8083"}, "process.runtime.name", "go",
			"process.runtime.version", "go1.26.0", "telemetry.sdk.language", "go", "telemetry.sdk.name", "opentelemetry",
			"telemetry.sdk.version", "1.47.0"))
	}
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
		r := res(service).ResourceSpans[0]
		id := uint64(3*i + 1)
		r.ScopeSpans[0].Spans = []*tracepb.Span{
			span(id, id-1, "handle_incoming_call", 10*i, 2000),
			span(id+1, id, "redis_call", 10*i+1, 150),
			span(id+2, id, "other_uservice_call", 10*i+200, 1700),
		}
		req.ResourceSpans = append(req.ResourceSpans, r)
	}
	req.ResourceSpans[2].ScopeSpans[0].Spans = req.ResourceSpans[2].ScopeSpans[0].Spans[:2]
	return req
}

const demoSpans = 8

// batches are exports of many traces each, as a busy exporter sends them.
func demoBatches(tb testing.TB, n, traces int) [][]byte {
	var bodies [][]byte
	for i := range n {
		req := &exportRequest{}
		for j := range traces {
			req.ResourceSpans = append(req.ResourceSpans, demoTrace(uint64(i*traces+j+1)).ResourceSpans...)
		}
		bodies = append(bodies, wire(tb, req))
	}
	return bodies
}

func reportSpans(b *testing.B, spans int) {
	b.ReportMetric(float64(spans)*float64(b.N)/b.Elapsed().Seconds(), "spans/s")
}

func BenchmarkIngest(b *testing.B) {
	const traces = 64
	bodies := demoBatches(b, 200, traces)
	b.Run("decode and store", func(b *testing.B) {
		c := New(discard)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			req := &exportRequest{}
			if err := wireOptions.Unmarshal(bodies[i%len(bodies)], req); err != nil {
				b.Fatal(err)
			}
			if _, err := c.receive(req, false); err != nil {
				b.Fatal(err)
			}
		}
		reportSpans(b, traces*demoSpans)
	})
	b.Run("HTTP with JSON", func(b *testing.B) {
		c := New(discard)
		body := jsonExport(b, demoTrace(1))
		for b.Loop() {
			if w := post(c.OTLPHandler(), contentJSON, body); w.Code != 200 {
				b.Fatal(w.Body)
			}
		}
		reportSpans(b, demoSpans)
	})
	b.Run("gRPC", func(b *testing.B) {
		c := New(discard)
		client := coltracepb.NewTraceServiceClient(dial(b, c))
		var reqs []*exportRequest
		for _, body := range bodies {
			req := &exportRequest{}
			if err := wireOptions.Unmarshal(body, req); err != nil {
				b.Fatal(err)
			}
			reqs = append(reqs, req)
		}
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				if _, err := client.Export(b.Context(), reqs[i%len(reqs)]); err != nil {
					b.Error(err)
					return
				}
			}
		})
		reportSpans(b, traces*demoSpans)
	})
	b.Run("one growing trace", func(b *testing.B) {
		c := sized(8 << 30)
		id := uint64(0)
		for b.Loop() {
			id++
			if _, err := c.receive(export(nil, newSpan(1, id, 0, "x", 0, 1)), false); err != nil {
				b.Fatal(err)
			}
		}
		reportSpans(b, 1)
	})
}

// full returns a collector that has reached its bound of 64 MiB.
func full(b *testing.B) *Collector {
	c := New(discard)
	for n := uint64(1); c.store.get(idOf(1)) != nil || n == 1; n++ {
		send(b, c, demoTrace(n))
	}
	return c
}

func BenchmarkQuery(b *testing.B) {
	c := full(b)
	h := c.APIHandler()
	latest := c.store.recent()[0]
	b.Logf("%d traces", c.store.order.Len())
	for _, q := range []struct{ name, path string }{
		{"trace by id", fmt.Sprintf("/api/v2/traces/%x", latest.id)},
		{"latest traces", "/api/search?limit=20"},
		{"search that all match", "/api/search?tags=service.name%3Duservice3"},
		{"search that none match by name", "/api/search?tags=name%3Dnothing"},
		{"search that none match by attribute", "/api/search?tags=nothing%3Dhere"},
		{"search that none match by duration", "/api/search?minDuration=1h"},
	} {
		b.Run(q.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest("GET", q.path, nil))
				if w.Code != 200 {
					b.Fatal(w.Body)
				}
			}
		})
	}
}

// jsonExport writes OTLP's JSON, with ids in hexadecimal.
func jsonExport(tb testing.TB, req *exportRequest) []byte {
	// The reverse of mendID: bytes whose base64 is the id's hexadecimal form.
	for _, rs := range req.ResourceSpans {
		for _, s := range rs.ScopeSpans[0].Spans {
			s.TraceId, s.SpanId, s.ParentSpanId = unmendID(s.TraceId), unmendID(s.SpanId), unmendID(s.ParentSpanId)
		}
	}
	body, err := protojson.Marshal(req)
	if err != nil {
		tb.Fatal(err)
	}
	return body
}
