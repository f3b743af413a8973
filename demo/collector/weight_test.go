package collector

import (
	"bytes"
	"encoding/base64"
	"net"
	"runtime"
	"strings"
	"testing"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
)

// within wraps a message as field number of another one.
func within(number protowire.Number, message []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), message)
}

// oversized are requests of 10 MiB, half of what is allowed, that decode to more than a gigabyte at worst.
func oversized() map[string][]byte {
	empty := func(number protowire.Number) []byte { return bytes.Repeat(within(number, nil), maxRequestBytes/4) }
	return map[string][]byte{
		"empty resources":  empty(1),
		"empty scopes":     within(1, empty(2)),
		"empty spans":      within(1, within(2, empty(2))),
		"empty attributes": within(1, within(2, within(2, empty(9)))),
		"empty events":     within(1, within(2, within(2, empty(11)))),
		"empty values":     within(1, within(1, within(1, within(2, within(5, empty(1)))))),
	}
}

func TestExportsThatDecodeToTooMuchAreRefused(t *testing.T) {
	c := New(Options{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go c.ServeGRPC(l)
	t.Cleanup(func() { c.Shutdown(t.Context()) })
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	for name, body := range oversized() {
		t.Run(name, func(t *testing.T) {
			if took := allocated(func() {
				if w := post(c.OTLPHandler(), contentProtobuf, body); w.Code != 413 || !strings.Contains(w.Body.String(), "send fewer spans at a time") {
					t.Errorf("answered %d %s", w.Code, w.Body)
				}
			}); took > 4*maxRequestBytes {
				t.Errorf("%d MiB were allocated for a refusal", took>>20)
			}
		})
	}
	t.Run("as JSON", func(t *testing.T) {
		body := `{"resourceSpans":[{}` + strings.Repeat(",{}", maxRequestBytes/3-20) + `]}`
		if w := post(c.OTLPHandler(), contentJSON, []byte(body)); w.Code != 413 {
			t.Errorf("answered %d %s", w.Code, w.Body)
		}
	})
	t.Run("over gRPC", func(t *testing.T) {
		res := &coltracepb.ExportTraceServiceResponse{}
		err := conn.Invoke(t.Context(), "/opentelemetry.proto.collector.trace.v1.TraceService/Export", rawMessage(oversized()["empty spans"]), res,
			grpc.ForceCodec(rawCodec{}))
		if status.Code(err) != codes.ResourceExhausted {
			t.Errorf("answered %v", err)
		}
	})
}

// rawMessage is a message that was encoded already.
type rawMessage []byte

type rawCodec struct{}

func (rawCodec) Marshal(v any) ([]byte, error) { return v.(rawMessage), nil }
func (rawCodec) Unmarshal([]byte, any) error   { return nil }
func (rawCodec) Name() string                  { return "proto" }

// allocated returns how many bytes f allocates, whether they are freed again or not.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestRoomForLargeExportsIsGivenBack hangs where a way out of an export forgets it.
func TestRoomForLargeExportsIsGivenBack(t *testing.T) {
	c := New(Options{})
	padding := within(99, make([]byte, 2*lightBytes)) // a field that nobody knows
	large := map[string]struct {
		contentType string
		body        []byte
		want        int
	}{
		"stored":       {contentProtobuf, append(wire(t, samples(sampleTime)[0]), padding...), 200},
		"malformed":    {contentProtobuf, append(padding[:len(padding):len(padding)], 0xff), 400},
		"without ids":  {contentProtobuf, append(within(1, within(2, within(2, nil))), padding...), 400},
		"no JSON":      {contentJSON, []byte(`{"padding":"` + base64.StdEncoding.EncodeToString(padding)), 400},
		"JSON, stored": {contentJSON, []byte(`{"padding":"` + base64.StdEncoding.EncodeToString(padding) + `"}`), 200},
	}
	for name, test := range large {
		for range maxDecoding + 1 {
			if w := post(c.OTLPHandler(), test.contentType, test.body); w.Code != test.want {
				t.Fatalf("%s: answered %d %s, want %d", name, w.Code, w.Body, test.want)
			}
		}
	}
}

// TestBatchesOfExportersAreLight holds the bound to being far above what an exporter sends: the demo's have 2048 spans.
func TestBatchesOfExportersAreLight(t *testing.T) {
	batch := demoBatches(t, 1, 300)[0] // more than 2048 spans
	weight := exportShape.weigh(batch, 0) + int64(len(batch))
	if ratio := float64(weight) / float64(len(batch)); weight > maxDecodedBytes/16 || ratio < 2 || ratio > 12 {
		t.Errorf("%d bytes weigh %d", len(batch), weight)
	}
}
