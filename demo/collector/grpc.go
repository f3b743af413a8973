package collector

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/encoding/gzip" // exporters may compress
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// What a client that speaks the other protocol is told.
const (
	onHTTPPort = "this is gRPC, and this port takes OTLP over HTTP: the port for gRPC is another, usually 4317"
	onGRPCPort = "this is HTTP, and this port takes OTLP over gRPC: the port for HTTP is another, usually 4318"
)

func (c *Collector) newGRPCServer() *grpc.Server {
	s := grpc.NewServer(
		grpc.Creds(greeting{insecure.NewCredentials(), c}),
		grpc.ConnectionTimeout(5*time.Second), // for the greeting
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: 5 * time.Minute}),
		grpc.MaxHeaderListSize(16<<10),
		grpc.MaxRecvMsgSize(maxRequestBytes),
		grpc.MaxConcurrentStreams(4),        // an exporter has one
		grpc.StaticStreamWindowSize(64<<10), // what arrives before it is read
		grpc.ForceServerCodec(rawCodec{}),
	)
	// The generated handler would begin when a request is in memory; a stream's reads it itself.
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: coltracepb.TraceService_ServiceDesc.ServiceName,
		Streams:     []grpc.StreamDesc{{StreamName: "Export", Handler: c.exportGRPC}},
	}, nil)
	return s
}

func (c *Collector) exportGRPC(_ any, stream grpc.ServerStream) error {
	res, err := c.export(stream.Context(), contentProtobuf, func() ([]byte, error) {
		var body []byte
		received := make(chan error, 1)
		go func() { received <- stream.RecvMsg(&body) }() // until this stream's handler ends
		select {
		case err := <-received:
			return body, err
		case <-time.After(c.patience):
			return nil, status.Errorf(codes.DeadlineExceeded, "the export did not arrive within %s", c.patience)
		}
	})
	if err != nil {
		return err
	}
	return stream.SendMsg(res)
}

// rawCodec leaves requests encoded.
type rawCodec struct{}

func (rawCodec) Name() string                       { return "proto" }
func (rawCodec) Marshal(v any) ([]byte, error)      { return proto.Marshal(v.(proto.Message)) }
func (rawCodec) Unmarshal(data []byte, v any) error { *v.(*[]byte) = data; return nil }

// greeting tells clients of HTTP/1 that this is not their port, where gRPC would only hang up.
type greeting struct {
	credentials.TransportCredentials
	c *Collector
}

func (g greeting) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	first := make([]byte, len("PRI"))
	if _, err := io.ReadFull(conn, first); err != nil {
		return nil, nil, err
	}
	if bytes.Equal(first, []byte("PRI")) {
		return g.TransportCredentials.ServerHandshake(greeted{conn, io.MultiReader(bytes.NewReader(first), conn)})
	}
	g.c.log.Warn("export refused", "error", onGRPCPort)
	fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s",
		http.StatusBadRequest, http.StatusText(http.StatusBadRequest), len(onGRPCPort), onGRPCPort)
	return nil, nil, errors.New(onGRPCPort)
}

// greeted is a connection whose first bytes were read already.
type greeted struct {
	net.Conn
	all io.Reader
}

func (c greeted) Read(p []byte) (int, error) { return c.all.Read(p) }
