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

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"golang.org/x/net/dns/dnsmessage"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
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

func TestAnOutageLosesNothing(t *testing.T) {
	const back, spans = "telemetry reaches the back end again", 100
	b, logs := &backend{}, &logBuffer{}
	addr, stop := b.serve(t, "127.0.0.1:0")
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "90000")
	t.Setenv("OTEL_BSP_EXPORT_TIMEOUT", "90000")
	span, shutdown := exportTo(t, addr, logs)
	span("before")
	waitFor(t, "the first span", func() bool { return b.has("before") })
	stop()
	for range spans {
		span("meanwhile")
	}
	waitFor(t, "the log line", func() bool { return len(logs.lines(t, inVain)) == 1 })
	b.serve(t, addr)
	waitFor(t, "all spans", func() bool { return len(b.named("meanwhile")) == spans })
	waitFor(t, "the log line", func() bool { return len(logs.lines(t, back)) == 1 })
	span("last")
	shutdown()
	if lines := strings.Count(logs.String(), "\n"); lines != 2 || !b.has("last") {
		t.Errorf("%d log lines for one absence; the last spans are %v:\n%s", lines, b.named("last"), logs)
	}
}

func TestABatchThatIsGivenUpIsLogged(t *testing.T) {
	logs := &logBuffer{}
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "100") // milliseconds
	span, shutdown := exportTo(t, "127.0.0.1:9", logs)
	defer shutdown()
	span("lost")
	waitFor(t, "the log lines", func() bool {
		return len(logs.lines(t, inVain)) == 1 && strings.Contains(logs.String(), "traces export: exporter export timeout")
	})
}

// TestABackEndThatReturnsElsewhereIsFound: a container that is stopped has no name, and gets another
// address when it starts.
func TestABackEndThatReturnsElsewhereIsFound(t *testing.T) {
	if second, err := net.Listen("tcp", "127.0.0.2:0"); err != nil {
		t.Skip("this system has no second loopback address")
	} else {
		second.Close()
	}
	b, logs := &backend{}, &logBuffer{}
	addr, stop := b.serve(t, "127.0.0.1:0")
	_, port, _ := net.SplitHostPort(addr)
	var address atomic.Value // empty while there is no such name
	var asked atomic.Int32
	address.Store("127.0.0.1")
	serveNames(t, func() string {
		asked.Add(1)
		return address.Load().(string)
	})
	span, shutdown := exportTo(t, "store.test:"+port, logs)
	defer shutdown()
	span("before")
	waitFor(t, "the first span", func() bool { return b.has("before") })
	address.Store("")
	stop()
	span("meanwhile")
	waitFor(t, "the log line", func() bool { return len(logs.lines(t, inVain)) == 1 })
	before := asked.Load()
	waitFor(t, "the name to be asked for again", func() bool { return asked.Load() > before })
	b.serve(t, "127.0.0.2:"+port)
	address.Store("127.0.0.2")
	waitFor(t, "the span at the other address", func() bool { return b.has("meanwhile") })
}

// serveNames starts a name server that has one address for all names, and has this process ask it.
func serveNames(t *testing.T, address func() string) {
	t.Helper()
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
			var m dnsmessage.Message
			if err != nil || m.Unpack(buffer[:n]) != nil {
				return
			}
			m.Response, m.Additionals = true, nil
			q := m.Questions[0]
			if ip := net.ParseIP(address()).To4(); ip == nil {
				m.RCode = dnsmessage.RCodeNameError
			} else if q.Type == dnsmessage.TypeA {
				m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
					Body: &dnsmessage.AResource{A: [4]byte(ip)}}}
			}
			packed, _ := m.Pack()
			conn.WriteTo(packed, from)
		}
	}()
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
	if len(spans) != 1 || !b.has("all is well") || b.service != mended || len(logs.lines(t, inVain)) > 0 {
		t.Fatalf("received %v of %s; logged %s", b.spans, b.service, logs)
	}
	// The span's name, a text, a key, one of a list, the link's text, the event's name and text, the error's text, the status.
	if got := strings.Count(protojson.Format(spans[0]), mended); got != 9 {
		t.Errorf("mended %d texts of 9: %v", got, spans[0])
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
