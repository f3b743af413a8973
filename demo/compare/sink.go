package compare

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
)

// sink is the back end of the instrumented pair while it is measured. It counts spans and keeps none.
type sink struct {
	coltracepb.UnimplementedTraceServiceServer
	spans atomic.Int64
}

// Export is a call of OTLP/gRPC.
func (s *sink) Export(
	_ context.Context, r *coltracepb.ExportTraceServiceRequest,
) (*coltracepb.ExportTraceServiceResponse, error) {
	for _, resource := range r.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			s.spans.Add(int64(len(scope.Spans)))
		}
	}
	return &coltracepb.ExportTraceServiceResponse{}, nil
}

// serve takes spans, and log lines, which it does not count, at a URL until stop is called.
func (s *sink) serve() (url string, stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("receiver of the spans: %w", err)
	}
	spans := grpc.NewServer()
	coltracepb.RegisterTraceServiceServer(spans, s)
	server := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 { // gRPC's
			spans.ServeHTTP(w, r)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body) // the lines
	})}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = server.Serve(listener) }() // it ends with stop
	return "http://" + listener.Addr().String(), func() { _ = server.Close() }, nil
}
