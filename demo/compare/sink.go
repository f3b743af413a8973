package compare

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
)

// maxExport is the largest export that is taken, in bytes.
const maxExport = 64 << 20

// sinkLine is what the sink says on standard output, as JSON, a line each: where it listens, and at its end how many
// spans it has received.
type sinkLine struct {
	Msg   string `json:"msg"` // "listening" or "received"
	Addr  string `json:"addr,omitempty"`
	Spans int64  `json:"spans"`
}

// ServeSink is the back end of the instrumented pair while it is measured, run as a process of its own: it takes spans
// over OTLP/gRPC on a free port of the loopback interface and counts them, so that lost ones can be told, and does
// nothing else with them, so as to take little of the machine from what is measured. It returns when ctx ends.
func ServeSink(ctx context.Context, stdout io.Writer) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("sink: %w", err)
	}
	var spans atomic.Int64
	server := grpc.NewServer(grpc.MaxRecvMsgSize(maxExport), grpc.ForceServerCodec(rawCodec{}),
		grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
			var export []byte
			if err := stream.RecvMsg(&export); err != nil {
				return err
			}
			spans.Add(countSpans(export))
			return stream.SendMsg(new([]byte)) // an empty ExportTraceServiceResponse: all is well
		}))
	say := json.NewEncoder(stdout)
	if err := say.Encode(sinkLine{Msg: "listening", Addr: listener.Addr().String()}); err != nil {
		listener.Close()
		return fmt.Errorf("sink: %w", err)
	}
	stop := context.AfterFunc(ctx, server.GracefulStop)
	defer stop()
	if err := server.Serve(listener); err != nil {
		return fmt.Errorf("sink: %w", err)
	}
	if err := say.Encode(sinkLine{Msg: "received", Spans: spans.Load()}); err != nil {
		return fmt.Errorf("sink: %w", err)
	}
	return nil
}

// rawCodec leaves messages as they are.
type rawCodec struct{}

func (rawCodec) Name() string                       { return "proto" }
func (rawCodec) Marshal(v any) ([]byte, error)      { return *v.(*[]byte), nil }
func (rawCodec) Unmarshal(data []byte, v any) error { *v.(*[]byte) = data; return nil }

// The numbers of fields, from https://github.com/open-telemetry/opentelemetry-proto, trace.proto and
// trace_service.proto: ExportTraceServiceRequest.resource_spans, ResourceSpans.scope_spans and ScopeSpans.spans.
var pathToSpans = []protowire.Number{1, 2, 2}

// countSpans counts the spans of an encoded ExportTraceServiceRequest; of a malformed one, those up to the fault.
func countSpans(export []byte) int64 { return count(export, pathToSpans) }

func count(message []byte, path []protowire.Number) (n int64) {
	for len(message) > 0 {
		number, kind, length := protowire.ConsumeTag(message)
		if length < 0 {
			return n
		}
		message = message[length:]
		length = protowire.ConsumeFieldValue(number, kind, message)
		if length < 0 {
			return n
		}
		if number == path[0] && kind == protowire.BytesType {
			if len(path) == 1 {
				n++
			} else {
				value, _ := protowire.ConsumeBytes(message)
				n += count(value, path[1:])
			}
		}
		message = message[length:]
	}
	return n
}
