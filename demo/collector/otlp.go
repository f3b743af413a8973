package collector

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	collogspb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetricspb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// An export takes about six times its length in memory once it is decoded, and would take up to 200
// times when it is made to: two bytes can be an empty span. These bounds hold what all exports take
// together, however many there are, to about 250 MB.
const (
	// maxRequestBytes bounds one export, after decompression. It is gRPC's default and so that of
	// Tempo; the 2048 spans that the demo's services send together take 1.1 MB.
	maxRequestBytes = 4 << 20

	// maxMessages bounds the messages within one: 2048 spans of the demo's services have 70,000.
	maxMessages = 400_000

	// maxNesting bounds how deep messages, and so attribute values, may nest.
	maxNesting = 100

	// maxReading bounds the exports whose bodies are in memory, where they are decoded one by one.
	// Others wait unread.
	maxReading = 16
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

// signal is what an export is about.
type signal struct {
	name              string // of the path of OTLP over HTTP
	service           string // gRPC's
	request, response proto.Message
	// receive stores a decoded request, or nothing of one that it refuses. What it leaves out it counts,
	// and says why.
	receive func(c *Collector, request proto.Message) (rejected int, why string, err error)
}

var signals = []signal{
	{"traces", coltracepb.TraceService_ServiceDesc.ServiceName,
		&coltracepb.ExportTraceServiceRequest{}, &coltracepb.ExportTraceServiceResponse{}, (*Collector).receiveTraces},
	{"logs", collogspb.LogsService_ServiceDesc.ServiceName,
		&collogspb.ExportLogsServiceRequest{}, &collogspb.ExportLogsServiceResponse{}, (*Collector).receiveLogs},
	{"metrics", colmetricspb.MetricsService_ServiceDesc.ServiceName,
		&colmetricspb.ExportMetricsServiceRequest{}, &colmetricspb.ExportMetricsServiceResponse{}, (*Collector).receiveMetrics},
}

// export reads, decodes and stores a request. The error is a gRPC status.
func (c *Collector) export(s signal, contentType string, read func() ([]byte, error)) (res proto.Message, err error) {
	defer func() {
		if err != nil {
			c.log.Warn("export refused", "error", strings.ToValidUTF8(status.Convert(err).Message(), "\uFFFD"))
		}
	}()
	body, err := read()
	if err != nil {
		return nil, err
	}
	c.decoding.Lock()
	defer c.decoding.Unlock()
	req, mended, err := decode(s, contentType, body)
	if err != nil {
		return nil, err
	}
	rejected, why, err := s.receive(c, req)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if mended {
		const problem = "text that is not UTF-8 was mended: there are question marks in it"
		c.log.Warn("export mended", "problem", problem)
		why = cmp.Or(why, problem)
	}
	return s.answer(rejected, why), nil
}

// answer makes a response, which has the same numbers of fields for all signals.
func (s signal) answer(rejected int, why string) proto.Message {
	res := s.response.ProtoReflect().New()
	if why != "" {
		partial := res.Mutable(res.Descriptor().Fields().ByName("partial_success")).Message()
		fields := partial.Descriptor().Fields()
		partial.Set(fields.ByNumber(1), protoreflect.ValueOfInt64(int64(rejected)))
		partial.Set(fields.ByNumber(2), protoreflect.ValueOfString(why))
	}
	return res.Interface()
}

// decode reads a request. Text that is not UTF-8 costs no span, and is reported as mended: the decoder
// refuses it, Tempo and the OpenTelemetry Collector do not. The error is a gRPC status.
func decode(s signal, contentType string, body []byte) (req proto.Message, mended bool, err error) {
	req = proto.Clone(s.request)
	messages, unmarshal := 0, wireOptions.Unmarshal
	if contentType == contentJSON {
		messages, unmarshal = bytes.Count(body, []byte("{")), jsonOptions.Unmarshal
		text := halves.ReplaceAllFunc(bytes.ToValidUTF8(body, []byte("?")), func(escape []byte) []byte {
			if len(escape) == len(`\ud83d`) {
				return []byte("?")
			}
			return escape
		})
		mended = !bytes.Equal(text, body)
		if body, err = mendIDs(text); err != nil {
			return nil, false, err
		}
	} else {
		messages, mended = inspect(req.ProtoReflect().Descriptor(), body, maxNesting)
	}
	if messages > maxMessages {
		return nil, false, status.Errorf(codes.ResourceExhausted,
			"the export has %d messages within it, and at most %d are taken: make smaller batches", messages, maxMessages)
	}
	if err = unmarshal(body, req); err != nil {
		return nil, false, status.Errorf(codes.InvalidArgument, "not an OTLP export of %s: %v", s.name, err)
	}
	return req, mended, nil
}

// halves finds half a character, which JavaScript writes where it cut one. What else it finds is longer, or
// shorter: a whole one in two halves, and other escapes.
var halves = regexp.MustCompile(`\\[^u]|(?i)\\ud[89ab]..\\ud[c-f]..|\\ud[89a-f]..`)

// jsonID finds the ids in OTLP's JSON.
var jsonID = regexp.MustCompile(`"((?:trace|span|parentSpan)Id)"\s*:\s*"([^"]*)"`)

// mendIDs writes ids in base64, as in protobuf's JSON; in OTLP's they are hexadecimal. The error is a
// gRPC status.
func mendIDs(body []byte) (mended []byte, err error) {
	mended = jsonID.ReplaceAllFunc(body, func(field []byte) []byte {
		parts := jsonID.FindSubmatch(field)
		id, notHex := hex.DecodeString(string(parts[2]))
		if notHex != nil {
			err = status.Errorf(codes.InvalidArgument,
				"%s must be hexadecimal digits, 32 for a trace and 16 for a span, received %q", parts[1], parts[2])
		}
		return fmt.Appendf(nil, "%q:%q", parts[1], base64.StdEncoding.EncodeToString(id))
	})
	return mended, err
}

// inspect counts the messages in an encoded one, and puts question marks for the bytes of text that are
// not UTF-8.
func inspect(message protoreflect.MessageDescriptor, b []byte, depth int) (messages int, mended bool) {
	for length := 0; len(b) > 0 && depth > 0; b = b[length:] {
		var number protowire.Number
		var kind protowire.Type
		if number, kind, length = protowire.ConsumeField(b); length < 0 {
			break // the decoder says so
		}
		field := message.Fields().ByNumber(number)
		if field == nil || kind != protowire.BytesType {
			continue
		}
		_, _, tag := protowire.ConsumeTag(b)
		value, _ := protowire.ConsumeBytes(b[tag:])
		switch field.Kind() {
		case protoreflect.MessageKind:
			n, m := inspect(field.Message(), value, depth-1)
			messages, mended = messages+1+n, mended || m
		case protoreflect.StringKind:
			for i := 0; i < len(value); {
				r, size := utf8.DecodeRune(value[i:])
				if r == utf8.RuneError && size == 1 {
					value[i], mended = '?', true
				}
				i += size
			}
		}
	}
	return messages, mended
}

func (c *Collector) receiveTraces(req proto.Message) (rejected int, why string, err error) {
	var spans []span
	for i, rs := range req.(*coltracepb.ExportTraceServiceRequest).ResourceSpans {
		for j, ss := range rs.ScopeSpans {
			if len(ss.Spans) == 0 {
				continue
			}
			from := newOrigin(rs, ss)
			spans = slices.Grow(spans, len(ss.Spans))
			for k, s := range ss.Spans {
				if err := checkSpan(s); err != nil {
					return 0, "", fmt.Errorf("resourceSpans[%d].scopeSpans[%d].spans[%d], %q: %w", i, j, k, s.Name, err)
				}
				s.Status = cmp.Or(s.Status, noStatus) // Tempo always answers with one
				spans = append(spans, span{Span: s, origin: from, bytes: memoryOf(proto.Size(s))})
			}
		}
	}
	rejected, why = c.keep(spans, "spans")
	return rejected, why, nil
}

// keep stores spans and lines, and says how many it leaves out, and why.
func (c *Collector) keep(all []span, what string) (rejected int, why string) {
	if rejected = c.store.add(all); rejected > 0 {
		most := c.store.maxTraceBytes
		c.log.Warn("telemetry dropped", "of", what, "number", rejected, "max_trace_bytes", most)
		why = fmt.Sprintf("%d %s dropped: a trace may take %d bytes of memory here; make smaller traces", rejected, what, most)
	}
	return rejected, why
}

func (c *Collector) receiveMetrics(req proto.Message) (rejected int, why string, err error) {
	for _, rm := range req.(*colmetricspb.ExportMetricsServiceRequest).ResourceMetrics {
		for _, sm := range rm.ScopeMetrics {
			for _, m := range sm.Metrics {
				rejected += len(m.GetGauge().GetDataPoints()) + len(m.GetSum().GetDataPoints()) + len(m.GetSummary().GetDataPoints()) +
					len(m.GetHistogram().GetDataPoints()) + len(m.GetExponentialHistogram().GetDataPoints())
			}
		}
	}
	return rejected, "metrics are not kept here, only traces and their log lines", nil
}

var noStatus = &tracepb.Status{}

func checkSpan(s *tracepb.Span) error {
	s.ParentSpanId = orNone(s.ParentSpanId)
	if len(s.SpanId) != 8 || orNone(s.SpanId) == nil {
		return fmt.Errorf("span ids must be 64 bit and not all zero, received \"%x\"", s.SpanId)
	}
	return checkIDs(s.TraceId, "parent span", s.ParentSpanId)
}

// checkIDs checks a trace id and that of a span, which may be missing.
func checkIDs(trace []byte, what string, span []byte) error {
	switch {
	case len(trace) != 16 || orNone(trace) == nil:
		return fmt.Errorf("trace ids must be 128 bit and not all zero, received \"%x\"", trace)
	case len(span) != 0 && len(span) != 8:
		return fmt.Errorf("%s ids must be empty or 64 bit, received \"%x\"", what, span)
	}
	return nil
}

// orNone is nil for an id of zeros, which some exporters send for none.
func orNone(id []byte) []byte {
	if len(bytes.Trim(id, "\x00")) == 0 {
		return nil
	}
	return id
}

// newOrigin always has a resource and a scope, as Tempo's answers do.
func newOrigin(rs *tracepb.ResourceSpans, ss *tracepb.ScopeSpans) *origin {
	o := &origin{sent: &tracepb.ResourceSpans{
		Resource: cmp.Or(rs.Resource, &resourcepb.Resource{}), SchemaUrl: rs.SchemaUrl,
		ScopeSpans: []*tracepb.ScopeSpans{
			{Scope: cmp.Or(ss.Scope, &commonpb.InstrumentationScope{}), SchemaUrl: ss.SchemaUrl}},
	}}
	key, _ := proto.MarshalOptions{Deterministic: true}.Marshal(o.sent) // it was decoded, so it can be encoded
	o.key = string(key)
	o.bytes = memoryOf(len(key)) + int64(len(key))
	if names := valuesOf(o.sent.Resource.Attributes, "service.name"); len(names) > 0 {
		o.service, _ = names[0].(string)
	}
	return o
}

// --- HTTP, https://opentelemetry.io/docs/specs/otlp/#otlphttp

var httpCodes = map[codes.Code]int{
	codes.OK:                http.StatusOK,
	codes.InvalidArgument:   http.StatusBadRequest,
	codes.ResourceExhausted: http.StatusRequestEntityTooLarge,
	codes.Unimplemented:     http.StatusUnsupportedMediaType,
	codes.DeadlineExceeded:  http.StatusServiceUnavailable, // exporters send it again
}

func (c *Collector) serveOTLP(s signal, w http.ResponseWriter, r *http.Request) {
	contentType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || contentType != contentProtobuf && contentType != contentJSON {
		const text = "415 unsupported media type, supported: [application/json, application/x-protobuf]"
		http.Error(w, text, http.StatusUnsupportedMediaType)
		return
	}
	res, err := c.export(s, contentType, func() ([]byte, error) { return readBody(w, r) })
	if err != nil {
		st := status.Convert(err)
		res = status.New(st.Code(), strings.ToValidUTF8(st.Message(), "\uFFFD")).Proto() // may quote the body
	}
	// The answer is in the request's own encoding. It has no invalid UTF-8, so it can be encoded.
	var reply []byte
	if contentType == contentJSON {
		reply, _ = protojson.Marshal(res)
	} else {
		reply, _ = proto.Marshal(res)
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(httpCodes[status.Code(err)])
	_, _ = w.Write(reply) // the client may be gone
}

// readBody returns a request's body, decompressed. The server's ReadTimeout bounds how long it may take.
// The error is a gRPC status.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	body := http.MaxBytesReader(w, r.Body, maxRequestBytes)
	switch e := r.Header.Get("Content-Encoding"); strings.ToLower(e) {
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
	} else if errors.Is(err, os.ErrDeadlineExceeded) {
		code = codes.DeadlineExceeded
	}
	return nil, status.Errorf(code, "cannot read the body: %v", err)
}
