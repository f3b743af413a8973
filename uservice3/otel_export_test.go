package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"golang.org/x/net/dns/dnsmessage"
	"google.golang.org/grpc"
)

// backend is a trace back end that keeps what it gets.
type backend struct {
	coltracepb.UnimplementedTraceServiceServer
	mu      sync.Mutex
	service string
	spans   []*tracepb.Span
}

const inVain = "telemetry does not reach the back end; requests are answered all the same"

func (b *backend) Export(_ context.Context, req *coltracepb.ExportTraceServiceRequest) (*coltracepb.ExportTraceServiceResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, rs := range req.ResourceSpans {
		b.service = text(rs.Resource.Attributes, "service.name")
		for _, ss := range rs.ScopeSpans {
			b.spans = append(b.spans, ss.Spans...)
		}
	}
	return &coltracepb.ExportTraceServiceResponse{}, nil
}

// named returns the spans with a name.
func (b *backend) named(name string) []*tracepb.Span {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(b.spans), func(span *tracepb.Span) bool { return span.Name != name })
}

func (b *backend) has(name string) bool { return len(b.named(name)) > 0 }

// serve listens on addr until the returned function is called.
func (b *backend) serve(t *testing.T, addr string) (string, func()) {
	t.Helper()
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	coltracepb.RegisterTraceServiceServer(server, b)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return listener.Addr().String(), server.Stop
}

func TestWhatIsLostIsCountedAndSaid(t *testing.T) {
	b, logs := &backend{}, &logBuffer{}
	addr, stop := b.serve(t, "127.0.0.1:0")
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "100") // a batch is given up after these milliseconds
	span, shutdown := exportTo(t, addr, logs)
	span("before")
	waitFor(t, "the first span", func() bool { return b.has("before") })

	stop()
	span("lost")
	waitFor(t, "the log line", func() bool { return len(logs.lines(t, inVain)) == 1 })
	b.serve(t, addr) // gRPC tries again after a second, when the batch has been given up
	waitFor(t, "spans to flow again", func() bool {
		span("after")
		return b.has("after")
	})
	waitFor(t, "the log line", func() bool {
		return len(logs.lines(t, "telemetry reaches the back end again")) == 1
	})
	span("last")
	shutdown()
	if !b.has("last") {
		t.Error("the span before the shutdown was not sent")
	}
	if n, _ := logs.lines(t, "telemetry reaches the back end again")[0]["given_up"].(float64); n < 1 {
		t.Errorf("no number of lost spans: %s", logs)
	}
}

// exportTo sets telemetry up to send spans to a back end, and returns a way to make one.
func exportTo(t *testing.T, address string, logs *logBuffer) (span func(name string), shutdown func()) {
	t.Helper()
	t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://"+address)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
	shutdown, err := setUpTelemetry(t.Context(), slog.New(slog.NewJSONHandler(logs, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return func(name string) {
		_, span := otel.Tracer(scopeName).Start(t.Context(), name)
		span.End()
	}, shutdown
}

// TestAnOutageLosesNothing stops the back end for longer than one try takes, and for less than
// OTEL_EXPORTER_OTLP_TIMEOUT.
func TestAnOutageLosesNothing(t *testing.T) {
	b, logs := &backend{}, &logBuffer{}
	addr, stop := b.serve(t, "127.0.0.1:0")
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "90000")
	t.Setenv("OTEL_BSP_EXPORT_TIMEOUT", "90000")
	span, shutdown := exportTo(t, addr, logs)
	span("before")
	waitFor(t, "the first span", func() bool { return b.has("before") })
	stop()
	away := time.Now().Add(2 * time.Second)
	made := 0
	for ; time.Now().Before(away); time.Sleep(20 * time.Millisecond) {
		span("meanwhile")
		made++
	}
	if lines := logs.lines(t, inVain); len(lines) != 1 || lines[0]["given_up"] != 0. {
		t.Errorf("logged %s", logs)
	}
	b.serve(t, addr)
	waitFor(t, "all spans", func() bool { return len(b.named("meanwhile")) == made })
	waitFor(t, "the log line", func() bool { return len(logs.lines(t, "telemetry reaches the back end again")) == 1 })
	shutdown()
	if lines := strings.Count(logs.String(), "\n"); lines != 2 || logs.lines(t, "telemetry reaches the back end again")[0]["given_up"] != 0. {
		t.Errorf("%d log lines for one absence:\n%s", lines, logs)
	}
}

// TestABackEndThatReturnsElsewhereIsFound: a container that is stopped has no name, and gets another
// address when it starts.
func TestABackEndThatReturnsElsewhereIsFound(t *testing.T) {
	b, logs := &backend{}, &logBuffer{}
	addr, stop := b.serve(t, "127.0.0.1:0")
	_, port, _ := net.SplitHostPort(addr)
	names := serveNames(t)
	names.set("127.0.0.1")
	span, shutdown := exportTo(t, "store.test:"+port, logs)
	defer shutdown()
	span("before")
	waitFor(t, "the first span", func() bool { return b.has("before") })
	names.set("")
	stop()
	span("meanwhile")
	waitFor(t, "the log line", func() bool { return len(logs.lines(t, inVain)) == 1 })
	asked := names.asked.Load()
	waitFor(t, "the name to be asked for again", func() bool { return names.asked.Load() > asked })
	if _, err := net.Listen("tcp", "127.0.0.2:0"); err != nil {
		t.Skip("this system has no second loopback address")
	}
	b.serve(t, "127.0.0.2:"+port)
	names.set("127.0.0.2")
	waitFor(t, "the span at the other address", func() bool { return b.has("meanwhile") })
}

// nameServer answers all questions for addresses alike.
type nameServer struct {
	address atomic.Value
	asked   atomic.Int32
}

func (s *nameServer) set(address string) { s.address.Store(address) }

// serveNames starts a name server, and has this process ask it.
func serveNames(t *testing.T) *nameServer {
	t.Helper()
	s := &nameServer{}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	before := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
	t.Cleanup(func() {
		net.DefaultResolver = before
		conn.Close()
	})
	go func() {
		for buffer := make([]byte, 512); ; {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			s.asked.Add(1)
			var question dnsmessage.Message
			if question.Unpack(buffer[:n]) != nil {
				continue
			}
			answer := dnsmessage.Message{Header: dnsmessage.Header{ID: question.ID, Response: true}, Questions: question.Questions}
			address := net.ParseIP(s.address.Load().(string)).To4()
			if q := question.Questions[0]; address == nil {
				answer.RCode = dnsmessage.RCodeNameError
			} else if q.Type == dnsmessage.TypeA {
				answer.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
					Body: &dnsmessage.AResource{A: [4]byte(address)}}}
			}
			packed, _ := answer.Pack()
			conn.WriteTo(packed, from)
		}
	}()
	return s
}

// TestTextThatIsNotUTF8LosesNothing puts a byte that is not UTF-8 wherever a span has text.
func TestTextThatIsNotUTF8LosesNothing(t *testing.T) {
	b, logs := &backend{}, &logBuffer{}
	addr, _ := b.serve(t, "127.0.0.1:0")
	const bad, mended = "a\xffb", "a\uFFFDb"
	t.Setenv("OTEL_SERVICE_NAME", bad)
	span, shutdown := exportTo(t, addr, logs)
	_, broken := otel.Tracer(scopeName).Start(t.Context(), bad, trace.WithAttributes(
		attribute.Int("n", 1), attribute.String("text", bad), attribute.String(bad, "key"), attribute.StringSlice("list", []string{"good", bad})),
		trace.WithLinks(trace.Link{SpanContext: trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}}),
			Attributes: []attribute.KeyValue{attribute.String("text", bad)}}))
	broken.AddEvent(bad, trace.WithAttributes(attribute.String("text", bad)))
	err := errors.New(bad)
	endSpan(broken, &err)
	span("all is well")
	shutdown()
	spans := b.named(mended)
	if len(spans) != 1 || !b.has("all is well") || len(logs.lines(t, inVain)) > 0 {
		t.Fatalf("received %v; logged %s", b.spans, logs)
	}
	s := spans[0]
	for where, got := range map[string]string{
		"attribute": text(s.Attributes, "text"), "event": s.Events[0].Name, "event's attribute": text(s.Events[0].Attributes, "text"),
		"status": s.Status.Message, "link": text(s.Links[0].Attributes, "text"), "service.name": b.service,
		"list": s.Attributes[3].Value.GetArrayValue().GetValues()[1].GetStringValue(),
	} {
		if got != mended {
			t.Errorf("%s is %q, want %q", where, got, mended)
		}
	}
	if text(s.Attributes, mended) != "key" {
		t.Errorf("no mended key: %v", s.Attributes)
	}
}

// text returns the value of a text attribute.
func text(attributes []*commonpb.KeyValue, key string) string {
	for _, kv := range attributes {
		if kv.Key == key {
			return kv.Value.GetStringValue()
		}
	}
	return ""
}
