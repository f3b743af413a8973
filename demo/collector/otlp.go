package collector

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/gzip" // exporters may compress
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

const (
	// maxRequestBytes bounds one export, after decompression. It is the
	// default of the OpenTelemetry Collector's HTTP receiver.
	maxRequestBytes = 20 << 20

	// maxNesting bounds how deep messages, and so attribute values, may nest.
	maxNesting = 100

	// maxStreams bounds the exports under way on one connection. An exporter
	// has one.
	maxStreams = 100

	contentProtobuf = "application/x-protobuf"
	contentJSON     = "application/json"
)

// Unknown fields are dropped, as OTLP asks for, and so that no memory is held
// that sizeOfSpan does not see.
var (
	wireOptions = proto.UnmarshalOptions{DiscardUnknown: true, RecursionLimit: maxNesting}
	jsonOptions = protojson.UnmarshalOptions{DiscardUnknown: true, RecursionLimit: maxNesting}
)

// receive checks a decoded request, stores it and returns the answer. The
// error is a gRPC status; nothing of a refused request is stored.
func (c *Collector) receive(req *coltracepb.ExportTraceServiceRequest) (*coltracepb.ExportTraceServiceResponse, error) {
	batch, err := prepare(req)
	if err != nil {
		c.log.Warn("export refused", "error", err)
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	res := &coltracepb.ExportTraceServiceResponse{}
	if n := c.store.add(batch); n > 0 {
		msg := fmt.Sprintf("%d spans dropped: a trace may take %d bytes of memory here; give the collector more or make smaller traces", n, c.store.maxTraceBytes)
		c.log.Warn("spans dropped", "spans", n, "max_trace_bytes", c.store.maxTraceBytes)
		res.PartialSuccess = &coltracepb.ExportTracePartialSuccess{RejectedSpans: int64(n), ErrorMessage: msg}
	}
	return res, nil
}

// prepare checks a request's ids and does all work that needs no lock.
func prepare(req *coltracepb.ExportTraceServiceRequest) ([]incoming, error) {
	n := 0
	for _, rs := range req.GetResourceSpans() {
		for _, ss := range rs.GetScopeSpans() {
			n += len(ss.GetSpans())
		}
	}
	batch := make([]incoming, 0, n)
	for i, rs := range req.GetResourceSpans() {
		var res *resource
		for j, ss := range rs.GetScopeSpans() {
			if len(ss.GetSpans()) == 0 {
				continue
			}
			if res == nil {
				res = newResource(rs)
			}
			sc := newScope(res, ss)
			for k, s := range ss.Spans {
				if err := checkIDs(s); err != nil {
					return nil, fmt.Errorf("resourceSpans[%d].scopeSpans[%d].spans[%d]: %w", i, j, k, err)
				}
				if s.Status == nil {
					s.Status = noStatus // Tempo always answers with a status
				}
				batch = append(batch, incoming{
					trace: traceID(s.TraceId),
					id:    spanID(s.SpanId),
					span:  span{Span: s, scope: sc},
					bytes: sizeOfSpan(s),
				})
			}
		}
	}
	return batch, nil
}

var noStatus = &tracepb.Status{}

func checkIDs(s *tracepb.Span) error {
	if len(s.GetTraceId()) != 16 || traceID(s.TraceId) == (traceID{}) {
		return fmt.Errorf("trace ids must be 128 bit and not all zero, received \"%x\"", s.GetTraceId())
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

func newResource(rs *tracepb.ResourceSpans) *resource {
	r := &resource{pb: rs.Resource, schemaURL: rs.SchemaUrl}
	if r.pb == nil {
		r.pb = &resourcepb.Resource{} // Tempo always answers with a resource
	}
	r.key = wireKey(&tracepb.ResourceSpans{Resource: r.pb, SchemaUrl: r.schemaURL})
	for _, kv := range r.pb.Attributes {
		if kv.GetKey() == "service.name" {
			r.service = kv.GetValue().GetStringValue()
			break
		}
	}
	r.bytes = resourceBytes + int64(len(r.key)) + sizeOfAttributes(r.pb.Attributes)
	return r
}

func newScope(r *resource, ss *tracepb.ScopeSpans) *scope {
	s := &scope{resource: r, pb: ss.Scope, schemaURL: ss.SchemaUrl}
	if s.pb == nil {
		s.pb = &commonpb.InstrumentationScope{}
	}
	s.key = wireKey(&tracepb.ScopeSpans{Scope: s.pb, SchemaUrl: s.schemaURL})
	s.bytes = scopeBytes + int64(len(s.key)) + sizeOfAttributes(s.pb.Attributes)
	return s
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
		grpc.ForceServerCodecV2(codec{encoding.GetCodecV2(grpcproto.Name), c}),
	)
	desc := coltracepb.TraceService_ServiceDesc
	desc.Methods = []grpc.MethodDesc{{
		MethodName: "Export",
		Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			var req decoded
			if err := decode(&req); err != nil {
				return nil, err
			}
			if req.heavy != nil {
				c.log.Warn("export refused", "error", req.heavy)
				return nil, status.Error(codes.ResourceExhausted, req.heavy.Error())
			}
			defer req.release()
			if req.err != nil {
				c.log.Warn("export refused", "error", req.err)
				return nil, status.Errorf(codes.InvalidArgument, "request is not an OTLP trace export: %v", req.err)
			}
			return c.receive(&req.export)
		},
	}}
	s.RegisterService(&desc, nil)
	return s
}

// decoded is a request, or why it is none. gRPC itself would report the latter
// as Internal, which blames the wrong side.
type decoded struct {
	export  coltracepb.ExportTraceServiceRequest
	err     error
	heavy   error  // it was not decoded at all
	release func() // otherwise: makes room for others
}

// codec is gRPC's own for answers, and decodes requests with wireOptions, when
// the collector has room for them.
type codec struct {
	encoding.CodecV2
	collector *Collector
}

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	d, ok := v.(*decoded)
	if !ok {
		return fmt.Errorf("cannot decode into %T", v)
	}
	buf := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buf.Free()
	if d.release, d.heavy = c.collector.admit(contentProtobuf, buf.ReadOnlyData()); d.heavy == nil {
		d.err = wireOptions.Unmarshal(buf.ReadOnlyData(), &d.export)
	}
	return nil
}

// --- HTTP, https://opentelemetry.io/docs/specs/otlp/#otlphttp

func (c *Collector) serveOTLP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		writeText(w, http.StatusMethodNotAllowed, "405 method not allowed, supported: [POST]")
		return
	}
	contentType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || contentType != contentProtobuf && contentType != contentJSON {
		writeText(w, http.StatusUnsupportedMediaType, "415 unsupported media type, supported: [application/json, application/x-protobuf]")
		return
	}
	req, release, code, err := c.readExport(w, r, contentType)
	defer release()
	if err != nil {
		c.log.Warn("export refused", "error", err)
		text := strings.ToValidUTF8(err.Error(), "\uFFFD") // may quote the body
		writeOTLP(w, contentType, code, status.New(grpcCode(code), text).Proto())
		return
	}
	res, err := c.receive(req)
	if err != nil {
		writeOTLP(w, contentType, http.StatusBadRequest, status.Convert(err).Proto())
		return
	}
	writeOTLP(w, contentType, http.StatusOK, res)
}

// readExport reads and decodes a request's body. With an error it returns the
// HTTP status that goes with it. Release says that the request is needed no
// longer.
func (c *Collector) readExport(w http.ResponseWriter, r *http.Request, contentType string) (_ *coltracepb.ExportTraceServiceRequest, release func(), code int, err error) {
	none := func() {}
	var body io.Reader = http.MaxBytesReader(w, r.Body, maxRequestBytes)
	switch e := r.Header.Get("Content-Encoding"); e {
	case "", "identity":
	case "gzip":
		z, err := gzip.NewReader(body)
		if err != nil {
			return nil, none, readCode(err), fmt.Errorf("body is not gzip, as Content-Encoding says: %w", err)
		}
		// A second limit: little input can unpack to a lot.
		body = http.MaxBytesReader(w, z, maxRequestBytes)
	default:
		return nil, none, http.StatusUnsupportedMediaType, fmt.Errorf("unsupported Content-Encoding: %s, use gzip or none", e)
	}
	data, err := io.ReadAll(body)
	if err != nil {
		return nil, none, readCode(err), fmt.Errorf("cannot read the body: %w", err)
	}
	release, err = c.admit(contentType, data)
	if err != nil {
		return nil, none, http.StatusRequestEntityTooLarge, err
	}
	req := &coltracepb.ExportTraceServiceRequest{}
	if contentType == contentJSON {
		err = unmarshalJSON(data, req)
	} else {
		err = wireOptions.Unmarshal(data, req)
	}
	if err != nil {
		// The protobuf library puts no-break spaces into its errors at random,
		// so that nobody compares them.
		return nil, release, http.StatusBadRequest, fmt.Errorf("body is not an OTLP trace export: %s", strings.ReplaceAll(err.Error(), "\u00a0", " "))
	}
	return req, release, 0, nil
}

func readCode(err error) int {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusBadRequest
}

func grpcCode(httpStatus int) codes.Code {
	switch httpStatus {
	case http.StatusRequestEntityTooLarge:
		return codes.ResourceExhausted
	case http.StatusUnsupportedMediaType:
		return codes.Unimplemented
	default:
		return codes.InvalidArgument
	}
}

// writeOTLP answers in the request's own encoding, errors as google.rpc.Status.
func writeOTLP(w http.ResponseWriter, contentType string, code int, m proto.Message) {
	var b []byte
	var err error
	if contentType == contentJSON {
		b, err = protojson.Marshal(m)
	} else {
		b, err = proto.Marshal(m)
	}
	if err != nil { // invalid UTF-8 alone could do it, and there is none
		writeText(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(code)
	_, _ = w.Write(b) // the client may be gone
}

// unmarshalJSON decodes OTLP's JSON, which is that of protobuf but for ids,
// which are hexadecimal there and base64 here. Hexadecimal digits are valid
// base64, and 16 or 32 of them decode without loss: so ids are decoded wrongly
// first and mended after, with no parser of our own.
func unmarshalJSON(data []byte, req *coltracepb.ExportTraceServiceRequest) error {
	if err := jsonOptions.Unmarshal(data, req); err != nil {
		return err
	}
	for _, rs := range req.ResourceSpans {
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				if err := mendID(&s.TraceId); err != nil {
					return fmt.Errorf("traceId of span %q: %w", s.Name, err)
				}
				if err := mendID(&s.SpanId); err != nil {
					return fmt.Errorf("spanId of span %q: %w", s.Name, err)
				}
				if err := mendID(&s.ParentSpanId); err != nil {
					return fmt.Errorf("parentSpanId of span %q: %w", s.Name, err)
				}
				for _, l := range s.Links {
					if err := errors.Join(mendID(&l.TraceId), mendID(&l.SpanId)); err != nil {
						return fmt.Errorf("link of span %q: %w", s.Name, err)
					}
				}
			}
		}
	}
	return nil
}

// mendID turns what base64 made of an id into what hexadecimal makes of it.
func mendID(id *[]byte) error {
	if len(*id) == 0 {
		return nil
	}
	b, err := hex.DecodeString(base64.StdEncoding.EncodeToString(*id))
	if err != nil {
		return errors.New("must be hexadecimal digits, 32 for a trace and 16 for a span")
	}
	*id = b
	return nil
}
