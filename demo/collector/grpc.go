package collector

import (
	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip" // exporters may compress
	"google.golang.org/protobuf/proto"
)

func (c *Collector) newGRPC() *grpc.Server {
	s := grpc.NewServer(grpc.MaxRecvMsgSize(maxRequestBytes), grpc.ForceServerCodec(rawCodec{}))
	// The generated handler decodes by itself; a stream's gets what the codec leaves encoded.
	for _, signal := range signals {
		s.RegisterService(&grpc.ServiceDesc{
			ServiceName: signal.service,
			Streams: []grpc.StreamDesc{{StreamName: "Export", Handler: func(_ any, stream grpc.ServerStream) error {
				res, err := c.export(signal, contentProtobuf, func() (body []byte, err error) {
					err = stream.RecvMsg(&body)
					return body, err
				})
				if err != nil {
					return err
				}
				return stream.SendMsg(res)
			}}},
		}, nil)
	}
	return s
}

// rawCodec leaves requests encoded.
type rawCodec struct{}

func (rawCodec) Name() string                       { return "proto" }
func (rawCodec) Marshal(v any) ([]byte, error)      { return proto.Marshal(v.(proto.Message)) }
func (rawCodec) Unmarshal(data []byte, v any) error { *v.(*[]byte) = data; return nil }
