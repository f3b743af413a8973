package compare

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
)

const (
	// SinkCommand is the command of this program that runs ServeSink.
	SinkCommand = "compare-sink"
	sinkName    = "the sink of spans"
)

// ServeSink is the back end of the instrumented pair while it is measured, in a process of its own.
// It takes spans over OTLP/gRPC on a free port of the loopback interface until ctx ends, and writes
// their number on the last line, by which lost ones are noticed. It does not decode them: that takes
// 3.5 µs a span, which under load is several percent of a small machine.
func ServeSink(ctx context.Context, stdout io.Writer) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("sink: %w", err)
	}
	var spans atomic.Int64
	server := grpc.NewServer(grpc.ForceServerCodec(rawCodec{}),
		grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
			var export []byte
			if err := stream.RecvMsg(&export); err != nil {
				return err
			}
			spans.Add(count(export, pathToSpans))
			return stream.SendMsg(new([]byte)) // an empty ExportTraceServiceResponse: all is well
		}))
	defer context.AfterFunc(ctx, server.GracefulStop)()
	slog.New(slog.NewJSONHandler(stdout, nil)).Info("listening", "addr", listener.Addr().String())
	if err := server.Serve(listener); err != nil {
		return fmt.Errorf("sink: %w", err)
	}
	_, err = fmt.Fprintln(stdout, spans.Load())
	return err
}

// rawCodec leaves messages as they are.
type rawCodec struct{}

func (rawCodec) Name() string                       { return "proto" }
func (rawCodec) Marshal(v any) ([]byte, error)      { return *v.(*[]byte), nil }
func (rawCodec) Unmarshal(data []byte, v any) error { *v.(*[]byte) = data; return nil }

// pathToSpans are the numbers of the fields ExportTraceServiceRequest.resource_spans,
// ResourceSpans.scope_spans and ScopeSpans.spans, from trace_service.proto and trace.proto in
// https://github.com/open-telemetry/opentelemetry-proto.
var pathToSpans = []protowire.Number{1, 2, 2}

// count counts the messages at a path in an encoded one; in a malformed one, those up to the fault.
func count(message []byte, path []protowire.Number) (n int64) {
	if len(path) == 0 {
		return 1
	}
	for len(message) > 0 {
		number, kind, length := protowire.ConsumeField(message)
		if length < 0 {
			return n
		}
		if number == path[0] && kind == protowire.BytesType {
			_, _, tag := protowire.ConsumeTag(message)
			value, _ := protowire.ConsumeBytes(message[tag:])
			n += count(value, path[1:])
		}
		message = message[length:]
	}
	return n
}
