package collector

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
)

var (
	discard = slog.New(slog.DiscardHandler)
	update  = flag.Bool("update", false, "write the golden file anew")
)

type exportRequest = coltracepb.ExportTraceServiceRequest

func value(v any) *commonpb.AnyValue {
	switch v := v.(type) {
	case string:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: v}}
	case bool:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_BoolValue{BoolValue: v}}
	case int:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: int64(v)}}
	case float64:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_DoubleValue{DoubleValue: v}}
	case []any:
		a := &commonpb.ArrayValue{}
		for _, e := range v {
			a.Values = append(a.Values, value(e))
		}
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_ArrayValue{ArrayValue: a}}
	}
	panic("no such attribute type")
}

// attrs makes attributes of pairs of key and value.
func attrs(pairs ...any) []*commonpb.KeyValue {
	var kvs []*commonpb.KeyValue
	for i := 0; i < len(pairs); i += 2 {
		kvs = append(kvs, &commonpb.KeyValue{Key: pairs[i].(string), Value: value(pairs[i+1])})
	}
	return kvs
}

func fromHex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func idOf(trace uint64) traceID {
	var id traceID
	binary.BigEndian.PutUint64(id[8:], trace)
	return id
}

// newSpan makes a span; ids are numbers, times milliseconds, and a parent of 0 is none.
func newSpan(trace, id, parent uint64, name string, start, length int) *tracepb.Span {
	t := idOf(trace)
	s := &tracepb.Span{
		TraceId:           t[:],
		SpanId:            binary.BigEndian.AppendUint64(nil, id),
		Name:              name,
		Kind:              tracepb.Span_SPAN_KIND_INTERNAL,
		StartTimeUnixNano: uint64(start) * 1e6,
		EndTimeUnixNano:   uint64(start+length) * 1e6,
	}
	if parent != 0 {
		s.ParentSpanId = binary.BigEndian.AppendUint64(nil, parent)
	}
	return s
}

func export(resource []*commonpb.KeyValue, spans ...*tracepb.Span) *exportRequest {
	return &exportRequest{ResourceSpans: []*tracepb.ResourceSpans{{
		Resource:   &resourcepb.Resource{Attributes: resource},
		ScopeSpans: []*tracepb.ScopeSpans{{Spans: spans}},
	}}}
}

// sized makes a collector that keeps as many bytes.
func sized(bytes int64) *Collector {
	c := New(discard)
	c.store = newStore(bytes)
	return c
}

// send stores requests in order, each decoded anew as if it came by wire.
func send(t testing.TB, c *Collector, reqs ...*exportRequest) {
	t.Helper()
	for _, r := range reqs {
		if _, _, err := c.receiveTraces(proto.Clone(r)); err != nil {
			t.Fatal(err)
		}
	}
}

// dial starts c on a port of its own and returns a connection to it. A body has a second to arrive.
func dial(t testing.TB, c *Collector) *grpc.ClientConn {
	t.Helper()
	server := httptest.NewUnstartedServer(c.OTLPHandler())
	server.Config.ReadTimeout = time.Second
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	conn, err := grpc.NewClient(server.Listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		server.Close()
	})
	return conn
}

func get(h http.Handler, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

func post(h http.Handler, contentType string, body []byte, header ...string) *httptest.ResponseRecorder {
	return postTo(h, "/v1/traces", contentType, body, header...)
}

func postTo(h http.Handler, path, contentType string, body []byte, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func wire(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
