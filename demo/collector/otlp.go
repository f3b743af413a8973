package collector

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // exporters may compress
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// An export takes about six times its length in memory once it is decoded, and up to 200 times when
// it is made to: two bytes can be an empty span. These bounds hold what all exports take together,
// to 50 MB for those of exporters and to 1.6 GB at the very worst.
const (
	// maxRequestBytes bounds one export, after decompression. It is gRPC's default and so that of
	// Tempo; the 2048 spans that the demo's services send together take 1.1 MB.
	maxRequestBytes = 4 << 20

	// maxNesting bounds how deep messages, and so attribute values, may nest.
	maxNesting = 100

	// maxDecoding bounds the exports that are decoded at a time.
	maxDecoding = 2

	// maxStreams bounds the exports that wait on one gRPC connection. An exporter has one.
	maxStreams = 16
)

const (
	contentProtobuf = "application/x-protobuf"
	contentJSON     = "application/json"
)

// OTLP asks receivers to ignore unknown fields.
var (
	wireOptions = proto.UnmarshalOptions{DiscardUnknown: true, RecursionLimit: maxNesting}
	jsonOptions = protojson.UnmarshalOptions{DiscardUnknown: true, RecursionLimit: maxNesting}
)

type exportRequest = coltracepb.ExportTraceServiceRequest

// export decodes and stores a request when there is room for it. The error is a gRPC status.
func (c *Collector) export(contentType string, body []byte) (*coltracepb.ExportTraceServiceResponse, error) {
	c.decoding <- struct{}{}
	defer func() { <-c.decoding }()
	req := &exportRequest{}
	unmarshal := wireOptions.Unmarshal
	if contentType == contentJSON {
		unmarshal = jsonOptions.Unmarshal
	}
	if err := unmarshal(body, req); err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "not an OTLP trace export: %v", err)
	}
	return c.receive(req, contentType == contentJSON)
}

// receive stores a decoded request, or nothing of one that it refuses. The error is a gRPC status.
func (c *Collector) receive(req *exportRequest, fromJSON bool) (*coltracepb.ExportTraceServiceResponse, error) {
	spans, err := prepare(req, fromJSON)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	res := &coltracepb.ExportTraceServiceResponse{}
	if n := c.store.add(spans); n > 0 {
		most := c.store.maxTraceBytes
		c.log.Warn("spans dropped", "spans", n, "max_trace_bytes", most)
		res.PartialSuccess = &coltracepb.ExportTracePartialSuccess{
			RejectedSpans: int64(n),
			ErrorMessage:  fmt.Sprintf("%d spans dropped: a trace may take %d bytes of memory here; make smaller traces", n, most),
		}
	}
	return res, nil
}

// prepare checks a request's ids and does all work that needs no lock.
func prepare(req *exportRequest, fromJSON bool) ([]span, error) {
	var spans []span
	for i, rs := range req.ResourceSpans {
		for j, ss := range rs.ScopeSpans {
			if len(ss.Spans) == 0 {
				continue
			}
			from := newOrigin(rs, ss)
			spans = slices.Grow(spans, len(ss.Spans))
			for k, s := range ss.Spans {
				if err := checkIDs(s, fromJSON); err != nil {
					return nil, fmt.Errorf("resourceSpans[%d].scopeSpans[%d].spans[%d]: %w", i, j, k, err)
				}
				s.Status = cmp.Or(s.Status, noStatus) // Tempo always answers with one
				spans = append(spans, span{Span: s, origin: from, bytes: memoryOf(proto.Size(s))})
			}
		}
	}
	return spans, nil
}

var noStatus = &tracepb.Status{}

func checkIDs(s *tracepb.Span, fromJSON bool) error {
	if fromJSON {
		if err := mendIDs(s); err != nil {
			return err
		}
	}
	if len(s.TraceId) != 16 || traceID(s.TraceId) == (traceID{}) {
		return fmt.Errorf("trace ids must be 128 bit and not all zero, received \"%x\"", s.TraceId)
	}
	if len(s.SpanId) != 8 || spanID(s.SpanId) == (spanID{}) {
		return fmt.Errorf("span ids must be 64 bit and not all zero, received \"%x\"", s.SpanId)
	}
	// An exporter that has no parent may send eight zeros.
	if bytes.Equal(s.ParentSpanId, make([]byte, 8)) {
		s.ParentSpanId = nil
	}
	if len(s.ParentSpanId) != 0 && len(s.ParentSpanId) != 8 {
		return fmt.Errorf("parent span ids must be empty or 64 bit, received \"%x\"", s.ParentSpanId)
	}
	return nil
}

// mendIDs mends ids from OTLP's JSON. Unlike in protobuf's, they are hexadecimal; they were decoded
// as base64, which loses nothing of 16 or 32 such digits.
func mendIDs(s *tracepb.Span) (err error) {
	mend := func(name string, id *[]byte) {
		var notHex error
		if *id, notHex = hex.DecodeString(base64.StdEncoding.EncodeToString(*id)); notHex != nil {
			err = fmt.Errorf("%s of span %q must be hexadecimal digits, 32 for a trace and 16 for a span", name, s.Name)
		}
	}
	mend("traceId", &s.TraceId)
	mend("spanId", &s.SpanId)
	mend("parentSpanId", &s.ParentSpanId)
	for _, l := range s.Links {
		mend("traceId in a link", &l.TraceId)
		mend("spanId in a link", &l.SpanId)
	}
	return err
}

// newOrigin always has a resource and a scope, as Tempo's answers do.
func newOrigin(rs *tracepb.ResourceSpans, ss *tracepb.ScopeSpans) *origin {
	o := &origin{
		resource: &tracepb.ResourceSpans{Resource: cmp.Or(rs.Resource, &resourcepb.Resource{}), SchemaUrl: rs.SchemaUrl},
		scope:    &tracepb.ScopeSpans{Scope: cmp.Or(ss.Scope, &commonpb.InstrumentationScope{}), SchemaUrl: ss.SchemaUrl},
	}
	o.key = originKey{wireKey(o.resource), wireKey(o.scope)}
	size := len(o.key.resource) + len(o.key.scope)
	o.bytes = memoryOf(size) + int64(size)
	o.service = stringOf(o.resource.Resource.Attributes, "service.name")
	return o
}

// wireKey encodes a message that was decoded a moment ago, which cannot fail.
func wireKey(m proto.Message) string {
	b, _ := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	return string(b)
}

// --- gRPC

func (c *Collector) newGRPCServer() *grpc.Server {
	s := grpc.NewServer(
		grpc.MaxRecvMsgSize(maxRequestBytes),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.ForceServerCodec(rawCodec{}),
	)
	desc := coltracepb.TraceService_ServiceDesc
	desc.Methods = []grpc.MethodDesc{{MethodName: "Export", Handler: c.exportGRPC}}
	s.RegisterService(&desc, nil)
	return s
}

// exportGRPC stands in for the generated handler, which would decode a request as soon as it has
// arrived, whether there is room or not, and would call a malformed one an error of the server.
func (c *Collector) exportGRPC(_ any, _ context.Context, receive func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	var body []byte
	if err := receive(&body); err != nil {
		return nil, err
	}
	res, err := c.export(contentProtobuf, body)
	if err != nil {
		c.log.Warn("export refused", "error", status.Convert(err).Message())
	}
	return res, err
}

// rawCodec leaves requests encoded.
type rawCodec struct{}

func (rawCodec) Name() string                       { return "proto" }
func (rawCodec) Marshal(v any) ([]byte, error)      { return proto.Marshal(v.(proto.Message)) }
func (rawCodec) Unmarshal(data []byte, v any) error { *v.(*[]byte) = data; return nil }

// --- HTTP, https://opentelemetry.io/docs/specs/otlp/#otlphttp

var httpCodes = map[codes.Code]int{
	codes.OK:                http.StatusOK,
	codes.InvalidArgument:   http.StatusBadRequest,
	codes.ResourceExhausted: http.StatusRequestEntityTooLarge,
	codes.Unimplemented:     http.StatusUnsupportedMediaType,
}

func (c *Collector) serveOTLP(w http.ResponseWriter, r *http.Request) {
	contentType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || contentType != contentProtobuf && contentType != contentJSON {
		const text = "415 unsupported media type, supported: [application/json, application/x-protobuf]"
		http.Error(w, text, http.StatusUnsupportedMediaType)
		return
	}
	var answer proto.Message
	body, err := readBody(w, r)
	if err == nil {
		answer, err = c.export(contentType, body)
	}
	if err != nil {
		st := status.Convert(err)
		text := strings.ToValidUTF8(st.Message(), "\uFFFD") // may quote the body
		c.log.Warn("export refused", "error", text)
		answer = status.New(st.Code(), text).Proto()
	}
	// The answer is in the request's own encoding. It has no invalid UTF-8, so it can be encoded.
	var reply []byte
	if contentType == contentJSON {
		reply, _ = protojson.Marshal(answer)
	} else {
		reply, _ = proto.Marshal(answer)
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(httpCodes[status.Code(err)])
	_, _ = w.Write(reply) // the client may be gone
}

// readBody returns a request's body, decompressed. The error is a gRPC status.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	body := http.MaxBytesReader(w, r.Body, maxRequestBytes)
	switch e := r.Header.Get("Content-Encoding"); e {
	case "", "identity":
	case "gzip":
		z, err := gzip.NewReader(body)
		if err != nil {
			return nil, status.Errorf(codes.InvalidArgument, "body is not gzip, as Content-Encoding says: %v", err)
		}
		body = http.MaxBytesReader(w, z, maxRequestBytes) // again: little input can unpack to a lot
	default:
		return nil, status.Errorf(codes.Unimplemented, "unsupported Content-Encoding: %s, use gzip or none", e)
	}
	data, err := io.ReadAll(body)
	if err == nil {
		return data, nil
	}
	code := codes.InvalidArgument
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		code = codes.ResourceExhausted
	}
	return nil, status.Errorf(code, "cannot read the body: %v", err)
}
