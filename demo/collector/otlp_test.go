package collector

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"strings"
	"testing"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcgzip "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

func zip(b []byte) []byte {
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	_, _ = z.Write(b)
	_ = z.Close()
	return buf.Bytes()
}

func jsonSpan(trace, span, more string) []byte {
	return []byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"` + trace + `","spanId":"` + span + `"` + more + `}]}]}]}`)
}

func TestHTTPExportsAreStored(t *testing.T) {
	const trace, span = wholeTrace, "eee19b7ec3c1b174"
	message := wire(t, &exportRequest{ResourceSpans: samples(sampleTime)[0].ResourceSpans})
	for _, test := range []struct {
		name, contentType string
		body              []byte
		header            []string
		spans             int
	}{
		{"protobuf", contentProtobuf, message, nil, 3},
		{"protobuf with gzip, in any case", contentProtobuf, zip(message), []string{"Content-Encoding", "GZIP"}, 3},
		{"JSON", contentJSON, jsonSpan(trace, span, ""), nil, 1},
		{"JSON with a charset and upper-case ids", "application/json; charset=utf-8",
			jsonSpan(strings.ToUpper(trace), strings.ToUpper(span), ""), nil, 1},
		{"JSON with unknown fields", contentJSON, jsonSpan(trace, span, `,"future":[1,{"a":2}]`), nil, 1},
		{"JSON with a parent of zeros", contentJSON, jsonSpan(trace, span, `,"parentSpanId":"0000000000000000"`), nil, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := New(discard)
			w := post(c.OTLPHandler(), test.contentType, test.body, test.header...)
			wantType, _, _ := strings.Cut(test.contentType, ";")
			if w.Code != 200 || w.Header().Get("Content-Type") != wantType {
				t.Fatalf("got %d %s %s", w.Code, w.Header().Get("Content-Type"), w.Body)
			}
			got := c.store.get(traceID(fromHex(trace)))
			if got == nil || len(got.spans) != test.spans {
				t.Fatalf("stored is %+v", got)
			}
			if test.spans == 1 && (got.root == nil || got.spans[0].SpanId[0] != 0xee) {
				t.Errorf("stored is %v", got.spans[0])
			}
		})
	}
}

func TestHTTPRefusalsFollowTheProtocol(t *testing.T) {
	const trace, span = "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174"
	deep := strings.Repeat(`{"arrayValue":{"values":[`, 200) + strings.Repeat("]}}", 200)
	bad := func(change func(id *[]byte, span *[]byte)) []byte {
		s := newSpan(1, 1, 0, "x", 0, 1)
		change(&s.TraceId, &s.SpanId)
		return wire(t, export(nil, newSpan(2, 1, 0, "good", 0, 1), s))
	}
	for _, test := range []struct {
		name, contentType string
		body              []byte
		header            []string
		code              int
		message           string
	}{
		{"JSON that breaks off", contentJSON, []byte("{"), nil, 400, "not an OTLP export of traces"},
		{"no protobuf", contentProtobuf, []byte{0xff, 0xff}, nil, 400, "not an OTLP export of traces"},
		{"attributes nested too deep", contentJSON, jsonSpan(trace, span, `,"attributes":[{"key":"k","value":`+deep+`}]`), nil, 400, "depth"},
		{"a trace id that is not hexadecimal", contentJSON, jsonSpan(strings.Repeat("z", 32), span, ""), nil, 400, "traceId must be hexadecimal"},
		{"a link's id that is not hexadecimal", contentJSON, jsonSpan(trace, span, `,"links":[{"traceId":"zzzz"}]`), nil, 400, "traceId must be"},
		{"a short parent id", contentJSON, jsonSpan(trace, span, `,"parentSpanId":"abcd"`), nil, 400, "parent span ids"},
		{"no trace id", contentProtobuf, bad(func(id, _ *[]byte) { *id = nil }), nil, 400, `spans[1], "x": trace ids must be 128 bit`},
		{"a span id that is too long", contentProtobuf, bad(func(_, span *[]byte) { *span = make([]byte, 9) }), nil, 400, "span ids must be 64 bit"},
		{"no gzip where it is announced", contentJSON, []byte("{}"), []string{"Content-Encoding", "gzip"}, 400, "not gzip"},
		{"an unknown compression", contentJSON, []byte("{}"), []string{"Content-Encoding", "br"}, 415, "use gzip or none"},
		{"a body that unpacks to a large one", contentProtobuf, zip(make([]byte, maxRequestBytes+1)), []string{"Content-Encoding", "gzip"}, 413, "too large"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := New(discard)
			w := post(c.OTLPHandler(), test.contentType, test.body, test.header...)
			if w.Code != test.code || w.Header().Get("Content-Type") != test.contentType {
				t.Fatalf("got %d %s %s", w.Code, w.Header().Get("Content-Type"), w.Body)
			}
			st := &spb.Status{}
			decode := proto.Unmarshal
			if test.contentType == contentJSON {
				decode = func(b []byte, m proto.Message) error { return protojson.Unmarshal(b, m) }
			}
			if err := decode(w.Body.Bytes(), st); err != nil {
				t.Fatalf("the body is no google.rpc.Status: %v", err)
			}
			if st.Code == 0 || !strings.Contains(st.Message, test.message) {
				t.Errorf("got status %d %q, want %q in it", st.Code, st.Message, test.message)
			}
			if c.store.order.Len() != 0 {
				t.Error("a part of the request is stored")
			}
		})
	}
}

// latin1 is an export of a good span and of one whose name and attribute are in Latin-1.
func latin1(t testing.TB, resource string) []byte {
	bad := newSpan(1, 2, 1, "caf\u00e9 bar", 0, 1)
	bad.Attributes = attrs("k", []any{"x\u00e9"})
	req := export(attrs("service.name", resource), newSpan(1, 1, 0, "good", 0, 1), bad)
	return bytes.ReplaceAll(wire(t, req), []byte("\u00e9"), []byte{0xe9, 'e'}) // as long as before
}

func TestTextThatIsNotUTF8CostsNoSpan(t *testing.T) {
	for _, test := range []struct {
		contentType string
		body        []byte
		stored      string
	}{
		{contentProtobuf, latin1(t, "\u00e9"), "caf?e bar"},
		{contentJSON, jsonSpan(strings.Repeat("0", 31)+"1", "0000000000000002", `,"name":"caf`+"\xe9"+` bar"`), "caf? bar"},
		{contentJSON, jsonSpan(strings.Repeat("0", 31)+"1", "0000000000000002", `,"name":"\ud83d\ude00 \\ud83d \uD83d"`), "\U0001F600 \\ud83d ?"},
	} {
		c := New(discard)
		w := post(c.OTLPHandler(), test.contentType, test.body)
		spans := c.store.get(idOf(1)).spans
		if w.Code != 200 || spans[len(spans)-1].Name != test.stored || !strings.Contains(w.Body.String(), "not UTF-8 was mended") {
			t.Errorf("answered %d %s, stored %v", w.Code, w.Body, spans)
		}
	}
}

func TestHTTPThatIsNoExportIsRefused(t *testing.T) {
	h := New(discard).OTLPHandler()
	if w := get(h, "/v1/traces"); w.Code != 405 || w.Header().Get("Allow") != "POST" {
		t.Errorf("GET: got %d, Allow %q", w.Code, w.Header().Get("Allow"))
	}
	for _, contentType := range []string{"", "text/plain"} {
		if w := post(h, contentType, nil); w.Code != 415 || !strings.Contains(w.Body.String(), contentProtobuf) {
			t.Errorf("%q: got %d %s", contentType, w.Code, w.Body)
		}
	}
	if w := post(h, "application/grpc", nil); w.Code != 505 {
		t.Errorf("gRPC over HTTP/1: got %d %s", w.Code, w.Body)
	}
	res, err := http.Post("http://"+dial(t, New(discard)).Target()+"/v1/traces", contentJSON, strings.NewReader("{}"))
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("HTTP on a port that takes gRPC: got %v, %v", res, err)
	}
	_ = res.Body.Close()
}

func TestGRPCExports(t *testing.T) {
	c := New(discard)
	client := coltracepb.NewTraceServiceClient(dial(t, c))
	for _, options := range [][]grpc.CallOption{nil, {grpc.UseCompressor(grpcgzip.Name)}} {
		res, err := client.Export(t.Context(), samples(sampleTime)[0], options...)
		if err != nil || res.PartialSuccess != nil {
			t.Fatalf("got %v, %v", res, err)
		}
	}
	if got := c.store.get(traceID(fromHex(wholeTrace))); got == nil || len(got.spans) != 3 {
		t.Errorf("stored is %+v", got)
	}

	s := newSpan(7, 1, 0, "x", 0, 1)
	s.TraceId = s.TraceId[:8]
	_, err := client.Export(t.Context(), export(nil, newSpan(7, 2, 0, "good", 0, 1), s))
	if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), `spans[1], "x": trace ids must be 128 bit`) {
		t.Errorf("a short id: got %v", err)
	}
	_, err = client.Export(t.Context(), export(nil, newSpan(7, 2, 0, strings.Repeat("x", maxRequestBytes), 0, 1)))
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("too large: got %v", err)
	}
	if c.store.get(idOf(7)) != nil {
		t.Error("a part of a refused request is stored")
	}
}
